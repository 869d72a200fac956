package peer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/orchd/orchd/api/server"
)

// exports is the folder for what is written only to be sent: its files have no
// name once they are open, so that nothing is left of them, whatever happens.
type exports struct{ dir string }

// openExports makes the folder, and empties it of what a crash at the wrong moment left.
func openExports(dir string) (exports, error) {
	if err := os.RemoveAll(dir); err != nil {
		return exports{}, fmt.Errorf("empty %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return exports{}, fmt.Errorf("make %s: %w", dir, err)
	}
	return exports{dir}, nil
}

// scratch opens an empty file without a name.
func (e exports) scratch() (*os.File, error) {
	f, err := os.CreateTemp(e.dir, ".export-*")
	if err != nil {
		return nil, fmt.Errorf("open a scratch file: %w", err)
	}
	return f, os.Remove(f.Name())
}

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
