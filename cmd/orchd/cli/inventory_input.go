package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
)

// source is where the objects of a command come from: --file or --data.
type source struct{ file, data string }

// open gives the text. --data takes what orchd api takes: JSON, @FILE or -.
func (s source) open(a *App) (io.ReadCloser, error) {
	path, isFile := strings.CutPrefix(s.data, "@")
	switch {
	case s.file == "-" || s.data == "-":
		return io.NopCloser(a.Stdin), nil
	case s.file != "":
		return os.Open(s.file)
	case isFile:
		return os.Open(path)
	}
	return io.NopCloser(strings.NewReader(s.data)), nil
}

// input is one object of the input.
type input struct {
	n    int // from 1
	line int // from 1; 0 where lines mean nothing
	raw  json.RawMessage
}

// place is how people find it.
func (i input) place() string {
	if i.line > 0 {
		return fmt.Sprintf("line %d", i.line)
	}
	return fmt.Sprintf("item %d", i.n)
}

// label is what the object calls itself.
func (i input) label() string {
	var v struct {
		Hostname string `json:"hostname"`
		Name     string `json:"name"`
		XName    string `json:"xname"`
		Location string `json:"location_string"`
		MAC      string `json:"mac_address"`
	}
	_ = json.Unmarshal(i.raw, &v) // half of it is better than nothing
	var parts []string
	for _, p := range []string{v.Hostname, v.Name, v.XName, v.Location, v.MAC} {
		if p != "" && len(parts) < 2 {
			parts = append(parts, p)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// errTorn says that the input is no JSON where an object should be.
var errTorn = &failure{exitUsage, "this is no JSON", ""}

// inputs reads an object, an array of objects, or an object on each line. A
// wrong line is given with errTorn and the next one follows; an array that
// breaks off ends. Only what is being read is in memory, but for objects that
// take several lines.
func inputs(r io.Reader) iter.Seq2[input, error] {
	in := bufio.NewReaderSize(r, 1<<20)
	return func(yield func(input, error) bool) {
		switch first, err := firstByte(in); {
		case errors.Is(err, io.EOF):
			yield(input{n: 1}, errTorn)
		case err != nil:
			yield(input{n: 1}, err)
		case first == '[':
			arrayItems(in, yield)
		default:
			lines(in, yield)
		}
	}
}

// firstByte is the first that is no white space; it and what is before it on its line stay unread.
func firstByte(in *bufio.Reader) (byte, error) {
	for n := 1; ; n++ {
		ahead, err := in.Peek(n)
		if err != nil {
			return 0, err
		}
		if c := ahead[n-1]; !bytes.ContainsRune([]byte(" \t\r\n"), rune(c)) {
			return c, nil
		}
	}
}

// arrayItems reads the items of an array.
func arrayItems(in io.Reader, yield func(input, error) bool) {
	dec := json.NewDecoder(in)
	_, err := dec.Token()
	n := 1
	for ; err == nil && dec.More(); n++ {
		item := input{n: n}
		if err = dec.Decode(&item.raw); err == nil && !yield(item, nil) {
			return
		}
	}
	if err == nil {
		_, err = dec.Token()
	}
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows it")
		}
	}
	if err != nil {
		yield(input{n: n}, usagef("the array is not valid JSON from here on: %v", err))
	}
}

// lines reads an object a line, or objects that take several lines. Which of
// the two it is the first line tells.
func lines(in *bufio.Reader, yield func(input, error) bool) {
	first, err := in.ReadBytes('\n')
	if err == nil && !json.Valid(first) {
		rest, err := io.ReadAll(in)
		if err != nil {
			yield(input{n: 1}, err)
			return
		}
		if !hasObjectLine(rest) {
			objects(append(first, rest...), yield)
			return
		}
		in = bufio.NewReader(bytes.NewReader(rest)) // the first line is torn, and the others need not be
	}
	n := 0
	for line, text := 1, first; ; line++ {
		if text = bytes.TrimSpace(text); len(text) > 0 {
			n++
			if !yieldLine(input{n: n, line: line, raw: text}, yield) {
				return
			}
		}
		if err != nil {
			break
		}
		text, err = in.ReadBytes('\n')
	}
	if !errors.Is(err, io.EOF) {
		yield(input{n: n + 1}, err)
	}
}

func yieldLine(in input, yield func(input, error) bool) bool {
	if json.Valid(in.raw) {
		return yield(in, nil)
	}
	return yield(in, errTorn)
}

// hasObjectLine tells whether some line is an object by itself.
func hasObjectLine(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] == '{' && json.Valid(line) {
			return true
		}
	}
	return false
}

// objects reads objects one after the other, however they are spread over lines.
func objects(text []byte, yield func(input, error) bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	for n := 1; ; n++ {
		in := input{n: n}
		switch err := dec.Decode(&in.raw); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			yield(in, usagef("the input is not valid JSON from here on: %v", err))
			return
		case !yield(in, nil):
			return
		}
	}
}
