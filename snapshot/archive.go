package snapshot

import (
	"fmt"
	"io"
	"time"
)

// WriteArchive writes a tar (USTAR) of the named files, in this order, each as write writes it. How long a
// file is shows in its header only when it is written, hence a place where one can go back. The
// same files with the same time give the same bytes.
func WriteArchive(w io.WriteSeeker, modified time.Time, names []string, write func(name string, w io.Writer) error) error {
	for _, name := range names {
		if err := archive(w, modified, name, write); err != nil {
			return fmt.Errorf("archive %s: %w", name, err)
		}
	}
	_, err := io.Copy(w, zeros(2*tarBlock))
	return err
}

// archive writes one file: room for the header, the file, and then the header.
func archive(w io.WriteSeeker, modified time.Time, name string, write func(name string, w io.Writer) error) error {
	at, err := w.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, zeros(tarBlock)); err != nil {
		return err
	}
	body := &stickyWriter{w: w}
	if err := write(name, body); err != nil {
		return err
	}
	size := body.at
	if _, err := io.Copy(body, zeros(tarPadding(size))); err != nil {
		return err
	}
	head, err := tarHeader(name, size, modified)
	if err != nil {
		return err
	}
	if _, err := w.Seek(at, io.SeekStart); err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err = w.Seek(at+tarBlock+body.at, io.SeekStart)
	return err
}
