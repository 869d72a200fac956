package peer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/server"
	"github.com/orchd/orchd/snapshot"
)

// exports is the folder for what is written only to be sent: its files have no
// name once they are open, so that nothing is left of them, whatever happens.
type exports struct {
	dir  string
	room func(bytes uint64) error // fails when the disk has none for as many
}

// openExports makes the folder, and empties it of what a crash at the wrong moment left.
func openExports(dir string) (exports, error) {
	if err := os.RemoveAll(dir); err != nil {
		return exports{}, fmt.Errorf("empty %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return exports{}, fmt.Errorf("make %s: %w", dir, err)
	}
	return exports{dir, func(bytes uint64) error { return snapshot.RoomFor(dir, bytes) }}, nil
}

// scratch is a file without a name. It leaves the disk, which is the log's too, its room.
type scratch struct {
	*os.File
	room func(bytes uint64) error
	left int // bytes until it is asked for more
}

// lookEvery is how many bytes are written until it is looked again how full the disk is.
const lookEvery = 16 << 20

// scratch opens an empty one.
func (e exports) scratch() (*scratch, error) {
	f, err := os.CreateTemp(e.dir, ".export-*")
	if err != nil {
		return nil, fmt.Errorf("open a scratch file: %w", err)
	}
	return &scratch{File: f, room: e.room}, os.Remove(f.Name())
}

// Write fails where the disk is nearly full, with ENOSPC.
func (s *scratch) Write(p []byte) (int, error) {
	if s.left -= len(p); s.left < 0 {
		s.left = lookEvery
		if err := s.room(uint64(max(lookEvery, len(p)))); err != nil {
			return 0, api.Errorf(api.Unavailable, "download", "what is to be sent is not written to this peer's disk; ask another peer: %w", err)
		}
	}
	return s.File.Write(p)
}

// ReadFrom is for io.Copy, which would pass Write by.
func (s *scratch) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{s}, r) }

// document writes a file to be sent; its ETag is the sum of its bytes.
func (e exports) document(name string, modified time.Time, write func(io.WriteSeeker) error) (server.Document, error) {
	f, err := e.scratch()
	if err != nil {
		return server.Document{}, err
	}
	sum := sha256.New()
	if err = write(f); err == nil {
		err = copyWhole(sum, f)
	}
	if err != nil {
		return server.Document{}, errors.Join(err, f.Close())
	}
	return server.Document{ReadSeekCloser: f, ETag: hex.EncodeToString(sum.Sum(nil)[:16]), Modified: modified, Name: name}, nil
}

// copyWhole copies a file from its beginning, and goes back there.
func copyWhole(to io.Writer, f io.ReadSeeker) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(to, f); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}
