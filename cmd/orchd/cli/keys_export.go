package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"filippo.io/age"
	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cluster/ca"
	"github.com/orchd/orchd/cmd/orchd/keycopy"
)

// leastPassphrase is the length in bytes under which a passphrase is refused.
const leastPassphrase = 12

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
			secret, err := a.passphraseIn(passphrase)
			if err != nil {
				return err
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
	doc, err := keycopy.Open(got.File, me)
	if err != nil {
		return fmt.Errorf("what the peer answered is no copy of the keys: %w", err)
	}
	locked, err := keycopy.Lock(doc, passphrase)
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

// passphraseIn reads the passphrase of a copy.
func (a *App) passphraseIn(file string) (string, error) {
	secret, err := a.fileText(file)
	if err != nil {
		return "", &failure{exitUsage, "read the passphrase: " + err.Error(), "give a file that holds it alone: --passphrase-file FILE"}
	}
	return secret, nil
}

// copiedKeys opens a copy of the keys. hint is what to do when it is not good.
func copiedKeys(file, passphrase, hint string) (doc api.KeyDocument, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return doc, &failure{exitUsage, "read the copy: " + err.Error(), ""}
	}
	if doc, err = keycopy.Unlock(text, passphrase); err != nil {
		return doc, &failure{exitFailed, fmt.Sprintf("%s is no good copy of the keys: %v", file, err), hint}
	}
	return doc, nil
}

// keyCopyView is what --verify says of a copy; no key is in it.
type keyCopyView struct {
	ClusterID string   `json:"cluster_id"`
	MadeAt    string   `json:"made_at"`
	Keys      []string `json:"keys"`
	CAPin     []string `json:"ca_pins"`
}

func (a *App) verifyKeys(file, passphrase string) error {
	doc, err := copiedKeys(file, passphrase, "make a new one while the cluster runs: orchd keys export --passphrase-file FILE --file "+file)
	if err != nil {
		return err
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
