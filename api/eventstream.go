package api

import (
	"bufio"
	"bytes"
	"io"
	"iter"
	"strings"
)

// maxEventLine bounds a line of an event stream: a row of the largest size fits.
const maxEventLine = 16 << 20

// frame is what stands between two empty lines of an event stream. One without
// data is no event: it says how far the stream has come.
type frame struct {
	id    string // the last one that was given, here or before
	event string
	data  []byte
}

// frames reads an event stream (HTML standard, section 9.2.6), whose lines end with
// LF or CRLF. heard is called with each line. What is not followed by an empty
// line did not arrive whole and is dropped.
func frames(r io.Reader, heard func()) iter.Seq2[frame, error] {
	return func(yield func(frame, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxEventLine)
		var f frame
		any := false
		for lines.Scan() {
			heard()
			switch line := lines.Bytes(); {
			case len(line) > 0:
				any = f.take(line) || any
			case any && !yield(f, nil):
				return
			default:
				f, any = frame{id: f.id}, false
			}
		}
		if lines.Err() != nil {
			yield(frame{}, lines.Err())
		}
	}
}

// take adds a line; false when it says nothing to us.
func (f *frame) take(line []byte) bool {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "id":
		if text := string(value); !strings.Contains(text, "\x00") {
			f.id = text
		}
	case "event":
		f.event = string(value)
	case "data":
		if f.data != nil {
			f.data = append(f.data, '\n')
		}
		f.data = append(f.data, value...)
	default:
		return false
	}
	return true
}
