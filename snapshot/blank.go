package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// blank is the file of a codec that has no rows. It is always the same, and most tables of a
// small cluster are empty: such a file is written by copying it, and is known by its sum.
type blank struct {
	data []byte
	sum  string // SHA-256, as a manifest has it
}

func (c *rowCodec) newBlank() (b blank, err error) {
	defer recovered(&err)
	var to bytes.Buffer
	out, err := newFileWriter(&to, c.schema)
	if err == nil {
		err = out.close()
	}
	sum := sha256.Sum256(to.Bytes())
	return blank{to.Bytes(), hex.EncodeToString(sum[:])}, err
}

// writeBlank writes the file without rows.
func (c *rowCodec) writeBlank(w io.Writer) error {
	b, err := c.blank()
	if err == nil {
		_, err = w.Write(b.data)
	}
	return err
}

// isBlank tells whether an entry of a verified folder is the file without rows. One that an
// older release wrote, of fewer columns, is not: it is read like any other.
func (c *rowCodec) isBlank(entry File) bool {
	if entry.Rows != 0 {
		return false
	}
	b, err := c.blank()
	return err == nil && entry.Bytes == int64(len(b.data)) && entry.SHA256 == b.sum
}

// filled are a table's files of a verified folder but for those without rows, which must be
// there all the same: a folder from which a file was taken since is not whole.
func (c *rowCodec) filled(f *Folder, table string) (filled []File, err error) {
	for _, entry := range f.entries(table) {
		if !c.isBlank(entry) {
			filled = append(filled, entry)
		} else if err := f.present(entry); err != nil {
			return nil, err
		}
	}
	return filled, nil
}

// present refuses when a file is not there, or not of its size any more.
func (f *Folder) present(entry File) error {
	info, err := os.Stat(filepath.Join(f.path, filepath.FromSlash(entry.Path)))
	if err == nil && info.Size() != entry.Bytes {
		err = fmt.Errorf("%d bytes, the manifest says %d", info.Size(), entry.Bytes)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", entry.Path, err)
	}
	return nil
}
