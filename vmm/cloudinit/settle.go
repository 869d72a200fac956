package cloudinit

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// The library writes the time, this process's user and what the host's file
// system says of links into an image. settle replaces them by fixed values, at the
// places that ECMA-119 (ISO 9660), SUSP and RRIP (IEEE P1282) give to them.

const (
	sector     = 2048
	firstAfter = 16 * sector // where the volume descriptors begin

	primary       = 1
	supplementary = 2 // Joliet's
	terminator    = 255
)

var errISO = errors.New("the image is not as it should be")

// One moment for everything: 2000-01-01, in the forms of a volume and of a file.
var (
	volumeTime = []byte("2000010100000000\x00")
	fileTime   = []byte{100, 1, 1, 0, 0, 0, 0}
)

// descriptor finds a volume descriptor of an image.
func descriptor(iso []byte, kind byte) ([]byte, error) {
	for at := firstAfter; at+sector <= len(iso); at += sector {
		d := iso[at : at+sector]
		switch {
		case string(d[1:6]) != "CD001":
			return nil, errISO
		case d[0] == kind:
			return d, nil
		case d[0] == terminator:
			return nil, errISO
		}
	}
	return nil, errISO
}

// cut takes away what lies behind the file system's end.
func cut(iso []byte) ([]byte, error) {
	d, err := descriptor(iso, primary)
	if err != nil {
		return nil, err
	}
	end := int(binary.LittleEndian.Uint32(d[80:])) * sector
	if end > len(iso) {
		return nil, errISO
	}
	return iso[:end], nil
}

// settle makes an image independent of when, where and by whom it was made.
func settle(iso []byte) error {
	for _, kind := range []byte{primary, supplementary} {
		d, err := descriptor(iso, kind)
		if err != nil {
			return err
		}
		for _, at := range []int{813, 830, 847, 864} { // creation, modification, expiration, effective
			copy(d[at:], volumeTime)
		}
		root := d[156:190]
		copy(root[18:25], fileTime)
		if err := settleFolder(iso, binary.LittleEndian.Uint32(root[2:]), binary.LittleEndian.Uint32(root[10:])); err != nil {
			return err
		}
	}
	return nil
}

// settleFolder goes over the records of one folder; a seed has no other.
func settleFolder(iso []byte, first, size uint32) error {
	from := int(first) * sector
	if from+int(size) > len(iso) {
		return errISO
	}
	for folder := iso[from : from+int(size)]; len(folder) > 0; {
		length := int(folder[0])
		if length == 0 { // the rest of a sector stays empty
			folder = folder[min(len(folder), 1):]
			continue
		}
		if length < 34 || length > len(folder) {
			return errISO
		}
		if err := settleRecord(folder[:length]); err != nil {
			return err
		}
		folder = folder[length:]
	}
	return nil
}

// settleRecord goes over one record and its Rock Ridge fields, which follow the name.
func settleRecord(r []byte) error {
	copy(r[18:25], fileTime)
	name := int(r[32])
	fields := 33 + name + (1 - name%2) // padded to an even place
	if fields > len(r) {
		return errISO
	}
	for f := r[fields:]; len(f) >= 4 && f[0] != 0; {
		length := int(f[2])
		if length < 4 || length > len(f) {
			return errISO
		}
		settleField(f[:length])
		f = f[length:]
	}
	return nil
}

// settleField sets times (TF), and links and owner (PX: mode, links, user, group, each
// once in either byte order).
func settleField(f []byte) {
	switch {
	case bytes.HasPrefix(f, []byte("TF")) && len(f) > 5:
		for at := 5; at+len(fileTime) <= len(f); at += len(fileTime) {
			copy(f[at:], fileTime)
		}
	case bytes.HasPrefix(f, []byte("PX")) && len(f) >= 36:
		clear(f[12:36])
		f[12], f[19] = 1, 1
	}
}
