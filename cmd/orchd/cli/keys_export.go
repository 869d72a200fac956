package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"filippo.io/age"
	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster/ca"
)

// leastPassphrase is the length in bytes under which a passphrase is refused.
const leastPassphrase = 12

// keyFormat is the format of the documents that this program reads and writes.
const keyFormat = 1

// maxKeyFile bounds a copy that is read.
const maxKeyFile = 4 << 20

func (a *App) keysExport() *cobra.Command {
	var passphrase, file, verify string
	cmd := a.verb(verb{
		use:   "export",
		short: "Keep an offline copy of all keys, encrypted with a passphrase; or check one",
		long: `Keep an offline copy of all keys of the cluster: CA, gossip and seal keys, in a file that
age opens (https://age-encryption.org) with the passphrase. The keys lie on every peer, so it is needed only
when all peers' disks are lost at once: with it the secrets in a copy of the tables can be
read, and certificates of the same CA be signed. Whoever has file and passphrase has the
cluster: keep them apart, and offline. Make a new one after each rotation.

--verify reads a copy and says what is in it; it asks no peer.`,
		example: `
orchd keys export --passphrase-file passphrase --file keys.age
orchd keys export --passphrase-file - < passphrase > keys.age
orchd keys export --verify keys.age --passphrase-file passphrase`,
		run: func(ctx context.Context, _ []string) error {
			secret, err := a.fileText(passphrase)
			if err != nil {
				return &failure{exitUsage, "read the passphrase: " + err.Error(), "give a file that holds it alone: --passphrase-file FILE"}
			}
			if len(secret) < leastPassphrase {
				return usagef("the passphrase has %d bytes; take at least %d: everything hangs on it", len(secret), leastPassphrase)
			}
			if verify != "" {
				return a.verifyKeys(verify, secret)
			}
			return a.exportKeys(ctx, secret, file)
		},
	})
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "file with the passphrase; - for stdin")
	cmd.Flags().StringVar(&file, "file", "", "where to write the copy (default stdout)")
	cmd.Flags().StringVar(&verify, "verify", "", "check this copy instead of making one")
	cmd.MarkFlagRequired("passphrase-file")
	cmd.MarkFlagsMutuallyExclusive("file", "verify")
	return cmd
}

// exportKeys has a peer encrypt the keys to a recipient that lives as long as this
// command, and encrypts them with the passphrase, which never leaves this host.
func (a *App) exportKeys(ctx context.Context, passphrase, file string) error {
	me, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	var got api.KeyCopy
	if err := c.do(ctx, call{method: "POST", path: "/v1/keys/export", in: api.KeyExport{Recipient: me.Recipient().String()}, out: &got}); err != nil {
		return err
	}
	doc, err := openKeys(got.File, me)
	if err != nil {
		return fmt.Errorf("what the peer answered is no copy of the keys: %w", err)
	}
	locked, err := lockedKeys(doc, passphrase)
	if err != nil {
		return err
	}
	if file == "" {
		_, err = a.Stdout.Write(locked)
	} else {
		err = renameio.WriteFile(file, locked, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the copy: %w", err)
	}
	a.say("%d keys of cluster %s; check it: orchd keys export --verify %s --passphrase-file FILE", len(doc.Keys), doc.ClusterID, cmp.Or(file, "FILE"))
	return nil
}

// lockedKeys is a document encrypted with a passphrase (age, scrypt).
func lockedKeys(doc api.KeyDocument, passphrase string) ([]byte, error) {
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipient)
	if err != nil {
		return nil, fmt.Errorf("encrypt the keys: %w", err)
	}
	if _, err := w.Write(text); err != nil {
		return nil, fmt.Errorf("encrypt the keys: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypt the keys: %w", err)
	}
	return out.Bytes(), nil
}

// openKeys decrypts a document.
func openKeys(file []byte, with age.Identity) (doc api.KeyDocument, err error) {
	r, err := age.Decrypt(bytes.NewReader(file), with)
	if err != nil {
		return doc, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxKeyFile))
	if err != nil {
		return doc, err
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return doc, fmt.Errorf("it holds no keys: %w", err)
	}
	if doc.Format != keyFormat {
		return doc, fmt.Errorf("its format is %d, this program reads %d", doc.Format, keyFormat)
	}
	return doc, soundKeys(doc)
}

// soundKeys checks that keys are what they are said to be.
func soundKeys(doc api.KeyDocument) error {
	if len(doc.InUse) != len(api.KeyKinds) {
		return fmt.Errorf("%d keys are in use in it, want %d", len(doc.InUse), len(api.KeyKinds))
	}
	for _, name := range doc.InUse {
		if len(doc.Keys[name]) == 0 {
			return fmt.Errorf("%s is in use and not in it", name)
		}
	}
	for name, key := range doc.Keys {
		cert, isCA := doc.Authorities[name]
		if isCA {
			if _, err := ca.Parse(doc.ClusterID, []byte(cert), key); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		} else if len(key) != 32 {
			return fmt.Errorf("%s has %d bytes, not 32", name, len(key))
		}
	}
	return nil
}

// keyCopyView is what --verify says of a copy; no key is in it.
type keyCopyView struct {
	ClusterID string   `json:"cluster_id"`
	MadeAt    string   `json:"made_at"`
	Keys      []string `json:"keys"`
	CAPin     []string `json:"ca_pins"`
}

func (a *App) verifyKeys(file, passphrase string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return &failure{exitUsage, "read the copy: " + err.Error(), ""}
	}
	with, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return err
	}
	doc, err := openKeys(text, with)
	if err != nil {
		return &failure{exitFailed, fmt.Sprintf("%s is no good copy of the keys, or has another passphrase: %v", file, err), "make a new one while the cluster runs: orchd keys export --passphrase-file FILE --file " + file}
	}
	v := keyCopyView{ClusterID: doc.ClusterID, MadeAt: moment(doc.MadeAt)}
	for name := range doc.Keys {
		v.Keys = append(v.Keys, name)
		if cert, isCA := doc.Authorities[name]; isCA {
			pin, err := ca.Hash([]byte(cert))
			if err != nil {
				return err
			}
			v.CAPin = append(v.CAPin, pin)
		}
	}
	slices.Sort(v.Keys)
	return a.object(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "good: cluster %s, made %s\nkeys: %v\nCA pin: %v\nIt is up to date if orchd keys status lists the same keys.\n", v.ClusterID, v.MadeAt, v.Keys, v.CAPin)
		return err
	})
}
