package value

import (
	bytes__ "bytes"
	fmt__ "fmt"
	image__ "image"
	encode__ "image/png"
)

// Programs have this file where they link package image anyway.
func init() {
	png__ = func(v any) (string, []byte) {
		img, ok := v.(image__.Image)
		if !ok || img.Bounds().Empty() {
			return "", nil
		}
		var b bytes__.Buffer
		if err := encode__.Encode(&b, img); err != nil {
			return "", nil
		}
		return fmt__.Sprintf("image of %d × %d pixels", img.Bounds().Dx(), img.Bounds().Dy()), b.Bytes()
	}
}
