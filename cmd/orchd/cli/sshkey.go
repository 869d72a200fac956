package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/orchd/orchd/api"
)

func (a *App) sshKey() *cobra.Command {
	return a.group("ssh-key", "Public keys of people, that virtual machines let in", `
orchd ssh-key create anna-laptop @~/.ssh/id_ed25519.pub
orchd ssh-key list
orchd vm create web1 --image debian-12 --network lan --ssh-key anna-laptop`,
		a.sshKeyCreate(), a.sshKeyList(), a.sshKeyShow(), a.sshKeyDelete())
}

func (a *App) sshKeys() listing[api.SSHKey] {
	type K = api.SSHKey
	return listing[K]{
		name: func(k K) string { return k.Name },
		columns: []column[K]{
			{head: "NAME", text: func(k K) string { return k.Name }},
			{head: "ACCOUNT", text: func(k K) string { return k.Account }},
			{head: "TYPE", text: func(k K) string { return k.Type }},
			{head: "FINGERPRINT", text: func(k K) string { return k.Fingerprint }},
			{head: "COMMENT", text: func(k K) string { return k.Comment }},
			{head: "AGE", text: func(k K) string { return a.age(k.CreatedAt) }, key: "created_at", raw: func(k K) string { return moment(k.CreatedAt) }},
			{head: "ID", wide: true, text: func(k K) string { return k.ID }},
			{head: "PUBLIC-KEY", wide: true, text: func(k K) string { return k.PublicKey }},
		},
	}
}

func sshKeyNames(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/ssh-keys", func(k api.SSHKey) string { return k.Name })
}

// ofAccount is the query that says whose name is meant; nothing for one's own.
func ofAccount(account string) url.Values {
	if account == "" {
		return nil
	}
	return url.Values{"account": {account}}
}

func (a *App) sshKeyCreate() *cobra.Command {
	var account string
	cmd := a.verb(verb{
		use:   "create NAME @FILE",
		short: "Upload a public key; virtual machines name it with --ssh-key",
		example: `
orchd ssh-key create anna-laptop @~/.ssh/id_ed25519.pub
orchd ssh-key create bob @bob.pub --account co-op`,
		min: 2, max: 2,
		run: func(ctx context.Context, args []string) error {
			path, text, err := a.fileOf(args[1])
			if err != nil {
				return err
			}
			keys, err := publicKeys(path, text)
			if err != nil {
				return err
			}
			if len(keys) > 1 {
				return usagef("%s holds %d keys; one at a time has a name", path, len(keys))
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var made api.SSHKey
			want := api.SSHKeyCreate{Name: args[0], Account: account, PublicKey: keys[0].line}
			if err := c.do(ctx, call{method: "POST", path: "/v1/ssh-keys", in: want, out: &made}); err != nil {
				return err
			}
			return a.sshKeys().result(a, made)
		},
	})
	accountFlag(a, cmd, &account)
	return cmd
}

// accountFlag gives a command the flag that says whose name is meant.
func accountFlag(a *App, cmd *cobra.Command, account *string) {
	cmd.Flags().StringVar(account, "account", "", "account that it belongs to (default: the token's)")
	a.completeFlag(cmd, "account", accountNames)
}

func (a *App) sshKeyList() *cobra.Command {
	var account string
	cmd := a.verb(verb{
		use:     "list",
		short:   "List the public keys",
		example: "orchd ssh-key list\norchd ssh-key list --account co-op -o wide",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.SSHKey](ctx, a, "/v1/ssh-keys", ofAccount(account))
			if err != nil {
				return err
			}
			return a.sshKeys().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	cmd.Flags().StringVar(&account, "account", "", "only those of this account")
	a.completeFlag(cmd, "account", accountNames)
	return cmd
}

func (a *App) sshKeyShow() *cobra.Command {
	var account string
	cmd := a.verb(verb{
		use:     "show NAME",
		short:   "Show a public key",
		example: "orchd ssh-key show anna-laptop",
		min:     1, max: 1, noun: sshKeyNames,
		run: func(ctx context.Context, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var k api.SSHKey
			if err := c.get(ctx, "/v1/ssh-keys/"+url.PathEscape(args[0]), ofAccount(account), &k); err != nil {
				return err
			}
			return a.sshKeys().one(a, k)
		},
	})
	accountFlag(a, cmd, &account)
	return cmd
}

func (a *App) sshKeyDelete() *cobra.Command {
	var account string
	cmd := a.verb(verb{
		use:     "delete NAME...",
		short:   "Forget public keys; virtual machines that have them go on letting them in",
		example: "orchd ssh-key delete anna-laptop\norchd ssh-key delete bob --account co-op",
		min:     1, max: many, noun: sshKeyNames,
		run: func(ctx context.Context, args []string) error {
			return a.removeOf(ctx, "/v1/ssh-keys/", "ssh key", ofAccount(account), args)
		},
	})
	cmd.Aliases = []string{"rm"}
	accountFlag(a, cmd, &account)
	return cmd
}

// aPublicKey is a line of a file of public keys.
type aPublicKey struct {
	line string // as it stands
	key  string // TYPE BASE64, by which keys are the same
	name string // what to call it
}

// publicKeys reads a file such as id_ed25519.pub or authorized_keys.
func publicKeys(path string, text []byte) ([]aPublicKey, error) {
	if bytes.Contains(text, []byte("PRIVATE KEY-----")) {
		return nil, &failure{exitUsage, path + " is a private key, which must not leave this machine", "give the public one, which is most often " + path + ".pub"}
	}
	var keys []aPublicKey
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		public, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
		switch {
		case err != nil:
			return nil, usagef("%s: line %d is no public key in OpenSSH's form", path, n+1)
		case len(options) > 0:
			return nil, usagef("%s: line %d has options before the key, which are not taken", path, n+1)
		}
		key := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
		keys = append(keys, aPublicKey{line, key, keyName(path, comment)})
	}
	if len(keys) == 0 {
		return nil, usagef("%s holds no public key", path)
	}
	return keys, nil
}

// keyName is what a key is called that nobody has named: its comment, else its file.
func keyName(path, comment string) string {
	if name := named(comment); name != "" {
		return name
	}
	if name := named(strings.TrimSuffix(filepath.Base(path), ".pub")); name != "" {
		return name
	}
	return "key"
}

// otherName is a name for a key whose own is taken by another one.
func (k aPublicKey) otherName() string {
	sum := sha256.Sum256([]byte(k.key))
	return k.name + "-" + hex.EncodeToString(sum[:4])
}

// keysNamed are the names of SSH keys of an account, each once. Those that are files
// are uploaded first, unless the account has them.
func (a *App) keysNamed(ctx context.Context, c client, account string, refs []string) ([]string, error) {
	drawer := keyDrawer{client: c, account: account}
	var names []string
	for _, ref := range refs {
		these := []string{ref}
		if strings.HasPrefix(ref, "@") {
			var err error
			if these, err = drawer.putFile(ctx, ref); err != nil {
				return nil, err
			}
		}
		for _, name := range these {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// keyDrawer is the keys that an account has.
type keyDrawer struct {
	client  client
	account string            // empty: the one that a create takes by itself
	names   map[string]string // by TYPE BASE64; nil until it is opened
}

// putFile gives the names of the keys in a file.
func (d *keyDrawer) putFile(ctx context.Context, ref string) (names []string, err error) {
	path, text, err := d.client.app.fileOf(ref)
	if err != nil {
		return nil, err
	}
	keys, err := publicKeys(path, text)
	if err == nil {
		err = d.open(ctx)
	}
	for _, k := range keys {
		if err != nil {
			break
		}
		var name string
		name, err = d.put(ctx, k)
		names = append(names, name)
	}
	return names, err
}

// open looks what keys the account has.
func (d *keyDrawer) open(ctx context.Context) (err error) {
	if d.names != nil {
		return nil
	}
	if d.account == "" {
		if d.account, err = d.client.app.ownAccount(ctx); err != nil {
			return err
		}
	}
	keys, err := list[api.SSHKey](ctx, d.client.app, "/v1/ssh-keys", ofAccount(d.account))
	d.names = map[string]string{}
	for _, k := range keys {
		d.names[k.PublicKey] = k.Name
	}
	return err
}

// ownAccount is the account of what is made without naming one: the only one that
// this credential sees, or the default.
func (a *App) ownAccount(ctx context.Context) (string, error) {
	accounts, err := list[api.Account](ctx, a, "/v1/accounts", nil)
	if err != nil || len(accounts) != 1 {
		return api.DefaultAccount, err
	}
	return accounts[0].Name, nil
}

// put gives the name of a key in the account, uploading it if it is not there.
func (d *keyDrawer) put(ctx context.Context, k aPublicKey) (string, error) {
	if name, there := d.names[k.key]; there {
		return name, nil
	}
	made, err := d.upload(ctx, k.name, k)
	if api.IsKind(err, api.Conflict) {
		made, err = d.upload(ctx, k.otherName(), k)
	}
	if err != nil {
		return "", err
	}
	d.client.app.say("ssh key %s is uploaded: %s", made.Name, made.Fingerprint)
	d.names[k.key] = made.Name
	return made.Name, nil
}

func (d *keyDrawer) upload(ctx context.Context, name string, k aPublicKey) (made api.SSHKey, err error) {
	want := api.SSHKeyCreate{Name: name, Account: d.account, PublicKey: k.line}
	err = d.client.do(ctx, call{method: "POST", path: "/v1/ssh-keys", in: want, out: &made})
	return made, err
}
