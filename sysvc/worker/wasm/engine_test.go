package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A module of a hundred bytes, put together by hand: the interface needs no toolchain.

// Instructions that tests put together.
const (
	end         = "\x0b"
	unreachable = "\x00"
	allocAt4096 = "\x41\x80\x20" + end
)

// assemble is a module whose functions alloc and call have these instructions, with text at
// address 1024 of its one page of memory.
func assemble(alloc, call, text string) []byte {
	section := func(id byte, items ...string) string {
		body := leb(uint64(len(items))) + strings.Join(items, "")
		return string(id) + leb(uint64(len(body))) + body
	}
	code := func(instructions string) string {
		body := "\x00" + instructions // no locals
		return leb(uint64(len(body))) + body
	}
	name := func(s string) string { return leb(uint64(len(s))) + s }
	return []byte("\x00asm\x01\x00\x00\x00" +
		section(1, "\x60\x01\x7f\x01\x7f", "\x60\x02\x7f\x7f\x01\x7e") + // (i32) i32, (i32 i32) i64
		section(3, "\x00", "\x01") +
		section(5, "\x00\x01") +
		section(7, name("memory")+"\x02\x00", name("alloc")+"\x00\x00", name("call")+"\x00\x01") +
		section(10, code(alloc), code(call)) +
		section(11, "\x00\x41\x80\x08\x0b"+name(text)))
}

func leb(n uint64) string { return string(binary.AppendUvarint(nil, n)) }

// returns is a function call that returns text.
func returns(text string) []byte {
	return assemble(allocAt4096, packed(1024, len(text))+end, text)
}

// packed is the instruction for an address and a length in one number.
func packed(at, length int) string {
	n := int64(at)<<32 | int64(length)
	out := []byte{0x42} // i64.const
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return string(append(out, b))
		}
		out = append(out, b|0x80)
	}
}

func engine(t *testing.T) *Engine {
	e := New(8 << 20)
	t.Cleanup(func() {
		if e.runtime != nil {
			e.runtime.Close(context.Background())
		}
	})
	return e
}

func call(module []byte) Call {
	return Call{Name: "m", Digest: string(module), Function: "f", Args: json.RawMessage("{}"), MaxResult: 1000,
		Text: func(string) ([]byte, error) { return module, nil },
		Do:   func(string, json.RawMessage) (json.RawMessage, error) { return nil, nil }}
}

func TestCall(t *testing.T) {
	e := engine(t)
	for name, c := range map[string]struct {
		module []byte
		want   string
		err    string
		is     error
	}{
		"a result":              {module: returns(`{"result": {"a": 1}}`), want: `{"a": 1}`},
		"no result":             {module: returns(`{}`), want: "null"},
		"an error":              {module: returns(`{"error": "no luck"}`), err: "module m: no luck"},
		"no such function":      {module: returns(`{"no_function": true}`), is: ErrNoFunction},
		"no JSON":               {module: returns(`{`), err: "return invalid result"},
		"too much":              {module: assemble(allocAt4096, packed(1024, 5000)+end, ""), err: "return invalid result: 5000 bytes"},
		"beyond its memory":     {module: assemble(allocAt4096, packed(65535, 10)+end, ""), err: "10 bytes at 65535 are not in the memory"},
		"at the end of all":     {module: assemble(allocAt4096, packed(-1, 10)+end, ""), err: "are not in the memory"},
		"alloc beyond it":       {module: assemble("\x41\x7f"+end, packed(1024, 2)+end, "{}"), err: "not in its memory"},
		"unreachable":           {module: assemble(allocAt4096, unreachable+end, ""), err: "unreachable"},
		"recursion":             {module: assemble(allocAt4096, "\x20\x00\x20\x01\x10\x01"+end, ""), err: "stack overflow"},
		"memory without end":    {module: assemble(allocAt4096, "\x03\x40\x41\x01\x40\x00\x41\x7f\x47\x0d\x00"+end+unreachable+end, ""), is: ErrMemory},
		"a loop":                {module: assemble(allocAt4096, "\x03\x40\x0c\x00"+end+unreachable+end, ""), is: context.DeadlineExceeded},
		"no module":             {module: []byte("#!/bin/sh"), err: "compile module m: invalid magic number"},
		"a module that has not": {module: []byte("\x00asm\x01\x00\x00\x00"), err: "module m does not export alloc"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if c.is == context.DeadlineExceeded {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
			}
			got, err := e.Call(ctx, call(c.module))
			switch {
			case c.is != nil:
				if !errors.Is(err, c.is) {
					t.Errorf("got %s, %v, want %v", got, err, c.is)
				}
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %s, %v, want an error with %q", got, err, c.err)
				}
			case err != nil || string(got) != c.want:
				t.Errorf("got %s, %v, want %s", got, err, c.want)
			}
		})
	}
}

// Modules that are called often are compiled once, and those that are not make room.
func TestCompiledModules(t *testing.T) {
	e := engine(t)
	asked := 0
	for n := range 20 {
		text := fmt.Sprintf(`{"result":%d}`, n)
		c := call(append(returns(text), custom(1<<20)...))
		read := c.Text
		c.Text = func(digest string) ([]byte, error) { asked++; return read(digest) }
		for range 3 {
			if got, err := e.Call(t.Context(), c); err != nil || string(got) != fmt.Sprint(n) {
				t.Fatalf("got %s, %v, want %d", got, err, n)
			}
		}
		if e.bytes > maxKept || len(e.compiled) > 8 {
			t.Errorf("got %d modules of %d bytes", len(e.compiled), e.bytes)
		}
	}
	if asked != 20 {
		t.Errorf("modules were asked for %d times, want 20", asked)
	}
}

// custom is a section that means nothing.
func custom(size int) []byte {
	body := "\x01x" + strings.Repeat("\x00", size)
	return []byte("\x00" + leb(uint64(len(body))) + body)
}

func TestSameBytes(t *testing.T) {
	var a, b sameBytes
	x, y := make([]byte, 64), make([]byte, 64)
	a.Read(x)
	b.Read(y)
	if !bytes.Equal(x, y) || bytes.Equal(x[:32], x[32:]) {
		t.Errorf("got %x and %x, want the same, and no pattern", x, y)
	}
}
