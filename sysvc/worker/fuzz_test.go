package worker

import (
	"bytes"
	"testing"
)

// FuzzFrame reads what a worker sends, which runs other people's code: refused, or a
// message that reads the same once more.
func FuzzFrame(f *testing.F) {
	type message struct {
		Kind string         `cbor:"1,keyasint"`
		Body []byte         `cbor:"2,keyasint,omitempty"`
		Map  map[string]int `cbor:"3,keyasint,omitempty"`
	}
	whole, err := frame(message{"x", []byte("y"), map[string]int{"z": 1}}, 1<<10)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0, 0, 9, 0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			var m message
			if readFrame(r, 1<<10, &m) != nil {
				return
			}
			if again, err := frame(m, 2<<10); err != nil || readFrame(bytes.NewReader(again), 2<<10, &m) != nil {
				t.Errorf("%+v does not read again: %v", m, err)
			}
		}
	})
}
