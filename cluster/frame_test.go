package cluster

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/orchd/orchd/api"
)

func TestFrameKeepsTimeAndCommands(t *testing.T) {
	at := time.Date(2026, 11, 21, 3, 12, 0, 123456789, time.UTC)
	frame, err := encodeFrame(at, []byte("one"), nil, []byte("three"))
	must(t, err)
	gotAt, got, err := decodeFrame(frame)
	must(t, err)
	if want := at.Truncate(time.Microsecond); !gotAt.Equal(want) {
		t.Errorf("time %v, want %v", gotAt, want)
	}
	if want := [][]byte{[]byte("one"), {}, []byte("three")}; len(got) != 3 || !bytes.Equal(bytes.Join(got, []byte("|")), bytes.Join(want, []byte("|"))) {
		t.Errorf("commands %q, want %q", got, want)
	}
}

func TestAlteredFrameIsRefused(t *testing.T) {
	frame, err := encodeFrame(time.Now(), []byte("command"))
	must(t, err)
	for i := range frame {
		altered := bytes.Clone(frame)
		altered[i] ^= 0x10
		if _, _, err := decodeFrame(altered); err == nil {
			t.Errorf("a frame with byte %d altered was taken", i)
		}
		if _, _, err := decodeFrame(frame[:i]); err == nil {
			t.Errorf("a frame cut at byte %d was taken", i)
		}
	}
	if _, _, err := decodeFrame(append([]byte{9}, frame[1:]...)); err == nil || !strings.Contains(err.Error(), "format is 9") {
		t.Errorf("a later format gives %v; want an error that names it", err)
	}
}

func TestFrameWhoseLengthsLieIsRefused(t *testing.T) {
	frame, err := encodeFrame(time.Now(), []byte("command"))
	must(t, err)
	binary.BigEndian.PutUint32(frame[frameHeader:], 1<<31)
	binary.BigEndian.PutUint32(frame[9:], frameSum(frame)) // the sum is right, the writer was wrong
	if _, _, err := decodeFrame(frame); err == nil {
		t.Error("a command that runs past the end was taken")
	}
	empty := frame[:frameHeader]
	binary.BigEndian.PutUint32(empty[9:], frameSum(empty))
	if _, _, err := decodeFrame(empty); err == nil {
		t.Error("a frame without a command was taken")
	}
}

func TestEntryHasALimit(t *testing.T) {
	fits := make([]byte, MaxEntry-frameHeader-lengthSize)
	if _, err := encodeFrame(time.Now(), fits); err != nil {
		t.Errorf("the largest command: %v", err)
	}
	_, err := encodeFrame(time.Now(), append(fits, 0))
	wantKind(t, err, api.TooLarge)
}

func FuzzDecodeFrame(f *testing.F) {
	frame, _ := encodeFrame(time.Now(), []byte("a"), []byte("b"))
	f.Add(frame)
	f.Fuzz(func(t *testing.T, b []byte) {
		at, commands, err := decodeFrame(b)
		if err != nil {
			return
		}
		again, err := encodeFrame(at, commands...)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("a frame and what it decodes to differ:\n%x\n%x", b, again)
		}
	})
}
