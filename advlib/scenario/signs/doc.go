// Package signs is the attacker who puts stickers on a road sign: what he may stick on it, what a printer and a camera
// make of that, and how often the sign is then read as he wants.
//
//	signs := dataset.RoadSigns(2000, 1)                          // or signs.Framed(photographs, 0.8)
//	some, _ := signs.Viewpoints{}.Draw(stopSigns, 400, c.Box(), 1) // from where he practises
//	campaign := signs.Campaign{Goal: advlib.Targeted(limit50), Outline: signs.Octagon}
//	stickers, _, err := campaign.Fit(ctx, c, some)
//
//	fresh, _ := signs.Viewpoints{}.Draw(stopSigns, 200, c.Box(), 2)
//	result, err := advlib.Run(ctx, c, fresh.Examples, stickers.On(fresh)) // how often it works
//	sheets, err := stickers.Sheets(900)                           // to print, for a sign 900 mm wide
//
// There are at most two stickers, and they cover at most 8 % of the sign: [MostStickers], [MostArea]. Others than the
// attacker's are [Print.Random].
package signs
