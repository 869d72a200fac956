package api

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzEventStream: what comes as an event stream gives the frames that stand in it, and
// a client takes each event once and in order, or ends with an error.
func FuzzEventStream(f *testing.F) {
	f.Add([]byte("id: 4.1\nevent: change\ndata: {\"index\":4,\"n\":1}\n\nid: 4.1\nevent: end\ndata: {}\n\n"))
	f.Add([]byte(":\nid: 7\n\nevent: change\r\ndata: {\r\ndata: }\r\nid: 8.2\r\n\r\n"))
	f.Add([]byte("id: 4.1\nid: 3.1\nevent:change\ndata:{}\n\ndata\n\n"))
	f.Add([]byte("id: 1.18446744073709551615\n\nid: 18446744073709551616\nevent: change\ndata: {}\n\n"))
	f.Add([]byte("id: 1.1\x00\nevent: change\ndata: \xff\n\n\n\n\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		for frame, err := range frames(bytes.NewReader(stream), func() {}) {
			if err == nil && len(frame.data)+len(frame.id)+len(frame.event) > len(stream) {
				t.Errorf("%d bytes of data come out of %d", len(frame.data), len(stream))
			}
		}
		last := Now
		r := &reading{at: Now, yield: func(e Event, _ error) bool { return true }}
		for frame, err := range frames(bytes.NewReader(stream), func() {}) {
			if err != nil || r.give(frame) != nil {
				return
			}
			if last != Now && r.at.Before(last) {
				t.Fatalf("the stream goes back from %v to %v", last, r.at)
			}
			last = r.at
		}
	})
}

// FuzzPosition: a position that is read is written as what reads as the same.
func FuzzPosition(f *testing.F) {
	for _, text := range []string{"0", "4711", "4711.3", "18446744073709551615", "1.18446744073709551615", "1.18446744073709551616", "-1", "1.", ".1", "+1", "01.02", " 1", "1e3", "０", "1.2.3"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePosition(text)
		if err != nil {
			return
		}
		if again, err := ParsePosition(p.String()); err != nil || again != p {
			t.Errorf("%q is %v, written as %q, which is %v (%v)", text, p, p.String(), again, err)
		}
	})
}

// FuzzError: an error as it crosses the wire, and names of objects.
func FuzzError(f *testing.F) {
	f.Add([]byte(`{"kind":"conflict","msg":"x","fields":[{"pointer":"/a","detail":"b"}]}`))
	f.Add([]byte(`{"kind":"nothing like it"}`))
	f.Add([]byte(`{"kind":7}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ValidName(string(b)) && (len(b) == 0 || len(b) > 63 || bytes.ContainsAny(b, "/.\\ \n%")) {
			t.Errorf("%q is a name", b)
		}
		var e Error
		if json.Unmarshal(b, &e) != nil {
			return
		}
		text, err := json.Marshal(&e)
		if err != nil {
			t.Fatalf("an error that was read cannot be written: %v", err)
		}
		var again Error
		if err := json.Unmarshal(text, &again); err != nil || again.Kind != e.Kind || again.Msg != e.Msg {
			t.Errorf("%s read again is %+v, %v", text, again, err)
		}
	})
}
