package lab

// KeepEveryPiece makes journals keep pieces that took no time as well.
func KeepEveryPiece() { least = 0 }
