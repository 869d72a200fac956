package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
)

// blank is the file of a codec that has no rows. It is always the same, and most tables of a
// small cluster are empty: such a file is written by copying it, and is known by its sum.
type blank struct {
	data []byte
	sum  string // SHA-256, as a manifest has it
}

func (c *Codec[T]) newBlank() (b blank, err error) {
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
func (c *Codec[T]) writeBlank(w io.Writer) error {
	b, err := c.blank()
	if err == nil {
		_, err = w.Write(b.data)
	}
	return err
}

// isBlank tells whether an entry of a verified folder is the file without rows. One that an
// older release wrote, of fewer columns, is not: it is read like any other.
func (c *Codec[T]) isBlank(entry File) bool {
	if entry.Rows != 0 {
		return false
	}
	b, err := c.blank()
	return err == nil && entry.Bytes == int64(len(b.data)) && entry.SHA256 == b.sum
}
