package cloudbase

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"math"
	"math/rand/v2"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

const (
	pictureWidth  = 160
	pictureHeight = 64
	glyphScale    = 3.2 // of the 7 by 13 pixels of the font
	specks        = 220
	strokes       = 3
)

// draw returns a GIF of the digits: bent, of uneven size and place, on a ground of
// specks and strokes. It slows a program down that guesses; it keeps none away that
// was made for it.
func draw(digits string) ([]byte, error) {
	palette := color.Palette{color.White, color.Black}
	for range 6 {
		palette = append(palette, color.RGBA{shade(), shade(), shade(), 0xff})
	}
	img := image.NewPaletted(image.Rect(0, 0, pictureWidth, pictureHeight), palette)
	step := float64(pictureWidth) / float64(len(digits)+1)
	for i := range len(digits) {
		x := step*(float64(i)+0.6) + rand.Float64()*8 - 4
		stamp(img, glyph(digits[i]), x, rand.Float64()*14, uint8(2+rand.IntN(6)))
	}
	for range specks {
		img.SetColorIndex(rand.IntN(pictureWidth), rand.IntN(pictureHeight), uint8(1+rand.IntN(7)))
	}
	for range strokes {
		stroke(img, uint8(1+rand.IntN(7)))
	}
	var b bytes.Buffer
	if err := gif.Encode(&b, img, &gif.Options{NumColors: len(palette)}); err != nil {
		return nil, fmt.Errorf("draw a captcha: %w", err)
	}
	return b.Bytes(), nil
}

// shade is dark enough to be read on white.
func shade() uint8 { return uint8(rand.IntN(140)) }

// glyph is one character as the font has it.
func glyph(c byte) *image.Alpha {
	face := basicfont.Face7x13
	g := image.NewAlpha(image.Rect(0, 0, face.Width, face.Height))
	d := font.Drawer{Dst: g, Src: image.Opaque, Face: face, Dot: fixed.P(0, face.Ascent)}
	d.DrawString(string(rune(c)))
	return g
}

// stamp puts a glyph at x, y, enlarged, slanted and in waves: every pixel of the
// target asks where in the glyph it lies.
func stamp(img *image.Paletted, g *image.Alpha, x, y float64, ink uint8) {
	scale := glyphScale * (0.9 + 0.3*rand.Float64())
	slant := rand.Float64()*0.5 - 0.25
	wave, phase := 1+rand.Float64(), rand.Float64()*2*math.Pi
	for py := range pictureHeight {
		v := (float64(py) - y) / scale
		for px := range pictureWidth {
			u := (float64(px) - x + slant*(float64(py)-y) + wave*math.Sin(float64(py)/6+phase)) / scale
			if u >= 0 && v >= 0 && g.AlphaAt(int(u), int(v)).A > 0 {
				img.SetColorIndex(px, py, ink)
			}
		}
	}
}

// stroke draws a wavy line from side to side.
func stroke(img *image.Paletted, ink uint8) {
	from, to := rand.Float64()*pictureHeight, rand.Float64()*pictureHeight
	phase := rand.Float64() * 2 * math.Pi
	for px := range pictureWidth {
		along := float64(px) / pictureWidth
		py := from + (to-from)*along + 4*math.Sin(10*along+phase)
		img.SetColorIndex(px, int(py), ink)
	}
}
