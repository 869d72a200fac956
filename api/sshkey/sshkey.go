// Package sshkey reads public keys as people paste them: one line of an
// authorized_keys file, and nothing that could mean more than a key.
//
// Parse is for who takes a line from a person. It is stricter than ssh is:
// a line with options, a certificate, a weak key or a second line is refused, each
// with its own reason. Fingerprint looks at the shape alone, and costs next to nothing.
package sshkey

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

// types are the types of key that are taken.
var types = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519,
	ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256,
	ssh.KeyAlgoRSA,
}

// Bounds of a key.
const (
	maxLine    = 16 << 10 // bytes: an RSA key of 16384 bits takes 3 KiB
	maxComment = 256      // bytes
	minRSA     = 2048     // bits (NIST SP 800-131A)
)

// Parse reads one line of an authorized_keys file: TYPE BASE64 and perhaps a
// comment. One line end behind it is taken. The fingerprint is as ssh-keygen -l
// shows it. The error says what is wrong with the line, as the end of a sentence
// about it.
func Parse(line string) (typ, text, comment, fingerprint string, err error) {
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if fault := lineFault(line); fault != "" {
		return "", "", "", "", errors.New(fault)
	}
	typ, rest := word(strings.Trim(line, " \t"))
	text, rest = word(rest)
	comment = strings.Trim(rest, " \t")
	if fault := typeFault(typ); fault != "" {
		return "", "", "", "", errors.New(fault)
	}
	if fault := commentFault(comment); fault != "" {
		return "", "", "", "", errors.New(fault)
	}
	if fingerprint, err = Fingerprint(typ, text); err != nil {
		return "", "", "", "", err
	}
	if err := whole(typ, text); err != nil {
		return "", "", "", "", err
	}
	return typ, text, comment, fingerprint, nil
}

// word cuts the first word off a line.
func word(line string) (first, rest string) {
	if k := strings.IndexAny(line, " \t"); k >= 0 {
		return line[:k], strings.TrimLeft(line[k:], " \t")
	}
	return line, ""
}

// lineFault says what is wrong with a line before anything in it is looked at.
func lineFault(line string) string {
	switch {
	case strings.Contains(line, "PRIVATE KEY"):
		return "is a private key: keep it to yourself, replace it if somebody may have seen it, and send the line of the file that ends in .pub"
	case len(line) > maxLine:
		return fmt.Sprintf("is longer than %d bytes", maxLine)
	case strings.ContainsAny(line, "\r\n"):
		return "must be one line: send one key at a time"
	case strings.Trim(line, " \t") == "":
		return "is empty; send the line of a file such as ~/.ssh/id_ed25519.pub"
	}
	return ""
}

// typeFault says why a type of key is not taken; empty when it is.
func typeFault(typ string) string {
	switch {
	case slices.Contains(types, typ):
		return ""
	case strings.HasPrefix(typ, "ssh-dss"):
		return "is a DSA key, which is too weak; make one with: ssh-keygen -t ed25519"
	case strings.HasSuffix(typ, "-cert-v01@openssh.com"):
		return "is a certificate; send the public key that it was made for"
	}
	return "must begin with the type of the key, one of " + strings.Join(types, ", ") + "; options before it are not taken"
}

// commentFault says what is wrong with the comment of a key; empty when nothing is.
func commentFault(comment string) string {
	switch {
	case len(comment) > maxComment:
		return fmt.Sprintf("has a comment longer than %d bytes", maxComment)
	case !utf8.ValidString(comment) || strings.ContainsFunc(comment, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has a comment with characters that cannot be printed"
	}
	return ""
}

// Fingerprint is that of a key whose type is taken and whose base64 text, in its
// one normal form, holds that type. What else the text holds only Parse looks at.
func Fingerprint(typ, text string) (string, error) {
	if fault := typeFault(typ); fault != "" {
		return "", errors.New(fault)
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || text == "" || base64.StdEncoding.EncodeToString(blob) != text || len(text) > maxLine {
		return "", errors.New("must have the key in base64 behind its type")
	}
	if len(blob) < 4 || int(binary.BigEndian.Uint32(blob)) != len(typ) || !bytes.HasPrefix(blob[4:], []byte(typ)) {
		return "", fmt.Errorf("says that it is of type %s, and the key in it is of another", typ)
	}
	sum := sha256.Sum256(blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]), nil
}

// whole refuses what is not one whole key of that type, and keys that are too short.
func whole(typ, text string) error {
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return err
	}
	key, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return fmt.Errorf("does not hold a whole key of type %s: copy the line again", typ)
	}
	if key.Type() != typ || !bytes.Equal(key.Marshal(), blob) {
		return fmt.Errorf("holds more, or other, than a key of type %s in its normal form", typ)
	}
	if holder, ok := key.(ssh.CryptoPublicKey); ok {
		if k, isRSA := holder.CryptoPublicKey().(*rsa.PublicKey); isRSA && k.N.BitLen() < minRSA {
			return fmt.Errorf("is an RSA key of %d bits, and %d are the least; make one with: ssh-keygen -t ed25519", k.N.BitLen(), minRSA)
		}
	}
	return nil
}
