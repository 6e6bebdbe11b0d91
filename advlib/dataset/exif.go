package dataset

import (
	"bytes"
	"encoding/binary"
)

// orientation returns how a camera was held, from the Exif data of a JPEG file or of a PNG file's chunk eXIf: 1 to 8,
// as the tag 0x0112 of TIFF 6.0 numbers them. It is 1, upright, where nothing is said, or nothing that can be read: a
// damaged remark does not make a picture unreadable.
func orientation(file []byte) int {
	exif := jpegExif(file)
	if exif == nil {
		exif = pngExif(file)
	}
	return tiffOrientation(exif)
}

// jpegExif returns the TIFF data of the segment APP1 of a JPEG file.
func jpegExif(file []byte) []byte {
	if !bytes.HasPrefix(file, []byte{0xff, 0xd8}) {
		return nil
	}
	for b := file[2:]; len(b) >= 4 && b[0] == 0xff; {
		marker, size := b[1], int(b[2])<<8|int(b[3])
		switch {
		case marker == 0xff: // a fill byte
			b = b[1:]
			continue
		case marker == 0xda || size < 2 || len(b) < 2+size: // the picture begins, or it is cut
			return nil
		}
		content := b[4 : 2+size]
		if rest, ok := bytes.CutPrefix(content, []byte("Exif\x00\x00")); marker == 0xe1 && ok {
			return rest
		}
		b = b[2+size:]
	}
	return nil
}

// pngExif returns the content of the chunk eXIf of a PNG file.
func pngExif(file []byte) []byte {
	b, ok := bytes.CutPrefix(file, []byte("\x89PNG\r\n\x1a\n"))
	for ok && len(b) >= 12 {
		size := int64(binary.BigEndian.Uint32(b))
		if size > int64(len(b)-12) {
			return nil
		}
		if string(b[4:8]) == "eXIf" {
			return b[8 : 8+size]
		}
		b = b[12+size:]
	}
	return nil
}

// tiffOrientation returns the orientation of the first directory of TIFF data.
func tiffOrientation(b []byte) int {
	const upright = 1
	if len(b) < 8 {
		return upright
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch string(b[:4]) {
	case "II*\x00":
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return upright
	}
	at := int64(order.Uint32(b[4:]))
	if at+2 > int64(len(b)) {
		return upright
	}
	entries := int64(order.Uint16(b[at:]))
	for i := range entries {
		from := at + 2 + 12*i
		if from+12 > int64(len(b)) {
			return upright
		}
		e := b[from : from+12]
		if order.Uint16(e) == 0x0112 && order.Uint16(e[2:]) == 3 && order.Uint32(e[4:]) == 1 { // one number of 16 bits
			if v := int(order.Uint16(e[8:])); v >= 1 && v <= 8 {
				return v
			}
			return upright
		}
	}
	return upright
}
