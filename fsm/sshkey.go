package fsm

import (
	"context"
	"iter"
	"strings"
	"unicode"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/sshkey"
)

var sshKeys = &table[api.SSHKey]{
	name:    "ssh_keys",
	key:     func(k *api.SSHKey) string { return k.ID },
	account: func(k *api.SSHKey) string { return k.Account },
	by: map[string]func(*api.SSHKey) string{
		"account": func(k *api.SSHKey) string { return k.Account },
	},
	unique: map[string]func(*api.SSHKey) []string{
		"name": func(k *api.SSHKey) []string { return []string{k.Account + "/" + k.Name} },
		"key":  func(k *api.SSHKey) []string { return []string{k.Account + "/" + k.PublicKey} },
	},
}

// sshKeyCreate is a key that the Writer has read.
type sshKeyCreate struct {
	Name    string `cbor:"1,keyasint"`
	Account string `cbor:"2,keyasint,omitempty"`
	Type    string `cbor:"3,keyasint"`
	Key     string `cbor:"4,keyasint"` // base64
	Comment string `cbor:"5,keyasint,omitempty"`
}

func applyCreateSSHKey(tx *Txn, c sshKeyCreate) (object, error) {
	const op = "ssh-key.create"
	if c.Account == "" {
		c.Account = defaultAccount(tx.Actor)
	}
	if err := tx.may(api.Create, op, api.Object{Kind: "ssh-key", Account: c.Account}); err != nil {
		return nothing, err
	}
	if err := accountOpen(tx.Reader, op, c.Account); err != nil {
		return nothing, err
	}
	fingerprint, faults := c.faults()
	if len(faults) > 0 {
		return nothing, &api.Error{Kind: api.Invalid, Op: op, Msg: "the SSH key is not valid", Fields: faults}
	}
	k := api.SSHKey{Name: c.Name, Account: c.Account, Type: c.Type, PublicKey: c.Type + " " + c.Key, Fingerprint: fingerprint, Comment: c.Comment,
		Version: 1, CreatedAt: tx.Now}
	if other, taken := sshKeys.holder(tx.Reader, "name", k.Account+"/"+k.Name); taken {
		return nothing, api.Errorf(api.Conflict, op, "account %q has an SSH key named %q already, %s", k.Account, k.Name, other.Fingerprint)
	}
	if other, taken := sshKeys.holder(tx.Reader, "key", k.Account+"/"+k.PublicKey); taken {
		return nothing, api.Errorf(api.Conflict, op, "account %q has this key already, as %q", k.Account, other.Name)
	}
	k.ID = tx.newID()
	sshKeys.put(tx, k)
	return object{table: sshKeys, key: k.ID}, nil
}

const maxKeyComment = 256

// faults looks at the shape of a key: that it is a whole one, with a comment that
// can be printed, the Writer has seen. What can be printed changes with Unicode, and
// apply must not.
func (c sshKeyCreate) faults() (fingerprint string, faults []api.FieldError) {
	fingerprint, err := sshkey.Fingerprint(c.Type, c.Key)
	if err != nil {
		faults = append(faults, api.FieldError{Pointer: "/public_key", Detail: err.Error()})
	}
	if len(c.Comment) > maxKeyComment || strings.ContainsFunc(c.Comment, unicode.IsControl) {
		faults = append(faults, api.FieldError{Pointer: "/public_key", Detail: "has a comment that is too long or holds control characters"})
	}
	if !api.ValidName(c.Name) {
		faults = append(faults, api.FieldError{Pointer: "/name", Detail: "must be 1 to 63 of a-z, 0-9 and -, and no UUID"})
	}
	return fingerprint, faults
}

type sshKeyDelete struct {
	ID string `cbor:"1,keyasint"`
}

func applyDeleteSSHKey(tx *Txn, c sshKeyDelete) (object, error) {
	k, there := sshKeys.one(tx.Reader, c.ID)
	if err := tx.reach(api.Delete, "ssh-key.delete", api.Object{Kind: "ssh-key", Account: k.Account}, c.ID, there); err != nil {
		return nothing, err
	}
	sshKeys.remove(tx, c.ID)
	return nothing, nil
}

// SSHKey finds a key by id, or by its name in an account.
func (r Reader) SSHKey(account, ref string) (api.SSHKey, bool) {
	if k, ok := sshKeys.one(r, ref); ok {
		return k, true
	}
	k, ok := sshKeys.holder(r, "name", account+"/"+ref)
	if !ok {
		return api.SSHKey{}, false
	}
	return *k, true
}

// SSHKeys lists the keys of all accounts by id.
func (r Reader) SSHKeys(after string) iter.Seq[api.SSHKey] { return sshKeys.each(r, after) }

// CreateSSHKey keeps a public key for an account. It is read here, with all that ssh
// knows of keys: what the log carries is its parts.
func (w *Writer) CreateSSHKey(ctx context.Context, c api.SSHKeyCreate) (Done[api.SSHKey], error) {
	typ, key, comment, _, err := sshkey.Parse(c.PublicKey)
	if err != nil {
		return Done[api.SSHKey]{}, fault("/public_key", err.Error())
	}
	done, err := propose[api.SSHKey](ctx, w, createSSHKey, sshKeyCreate{c.Name, c.Account, typ, key, comment})
	if done.Gone {
		done.Object.ID = done.ID
	}
	return done, err
}

// DeleteSSHKey forgets a key. Guests that have it keep it.
func (w *Writer) DeleteSSHKey(ctx context.Context, id string) error {
	_, err := propose[struct{}](ctx, w, deleteSSHKey, sshKeyDelete{id})
	return err
}
