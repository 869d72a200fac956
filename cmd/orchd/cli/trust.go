package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/voucher"
)

// trustService is the service of the package trust-graph.
const trustService = "trust-graph"

func (a *App) trust() *cobra.Command {
	return a.group("trust", "Keys that vouch for newcomers and images, as the package trust-graph weighs them", `
orchd trust key /root/trust.key
orchd trust certify --for KEY --key /root/root.key --days 365
orchd trust weight KEY`,
		a.trustKey(), a.trustPublic(), a.trustWeight(), a.trustCertify(), a.trustRevoke())
}

// trustKeyFlag gives a command the flag that names a key to sign with.
func trustKeyFlag(cmd *cobra.Command, file *string, what string) {
	cmd.Flags().StringVar(file, "trust-key", "", "file with a key, as orchd trust key makes it; it "+what)
}

func (a *App) trustKey() *cobra.Command {
	cmd := a.verb(verb{
		use:   "key FILE",
		short: "Make a key, and print its public key",
		long: "Make a key, and print its public key. FILE gets the seed of an Ed25519 key, 64 hex digits, for its owner alone; one that\n" +
			"is there is never overwritten. Whoever has the public key gives it weight: as a root, or with a certificate.",
		example: `
orchd trust key /root/trust.key
orchd service call trust-graph set_root key=$(orchd trust key ./root.key)    # a root: as admin`,
		min: 1, max: 1,
		run: func(_ context.Context, args []string) error {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				return err
			}
			if err := writeNew(a.home(args[0]), voucher.FormatKey(key)); err != nil {
				return err
			}
			return a.printKey(key)
		},
	})
	cmd.ValidArgsFunction = completeFile
	return cmd
}

// completeFile completes one file, as the shell does it.
func completeFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// writeNew writes a file that is not there yet, for its owner alone.
func writeNew(path, text string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &failure{exitConflict, path + " is there already, and a key that is lost cannot be made again", "see its public key: orchd trust public " + path}
	}
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			os.Remove(path) // half a key is none
		}
	}()
	if _, err := io.WriteString(f, text); err != nil {
		return err
	}
	return f.Sync()
}

func (a *App) printKey(key ed25519.PrivateKey) error {
	public := voucher.Public(key)
	return a.object(map[string]string{"key": public}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, public)
		return err
	})
}

func (a *App) trustPublic() *cobra.Command {
	cmd := a.verb(verb{
		use:     "public FILE",
		short:   "Print the public key of a key in a file",
		example: "orchd trust public /root/trust.key",
		min:     1, max: 1,
		run: func(_ context.Context, args []string) error {
			key, err := a.trustKeyIn(args[0])
			if err != nil {
				return err
			}
			return a.printKey(key)
		},
	})
	cmd.ValidArgsFunction = completeFile
	return cmd
}

// trustKeyIn reads the key that a file holds; nil for no file. A key that others can
// read is theirs as well, and refused.
func (a *App) trustKeyIn(file string) (ed25519.PrivateKey, error) {
	if file == "" {
		return nil, nil
	}
	path := a.home(file)
	f, err := os.Open(path)
	if err != nil {
		return nil, &failure{exitUsage, fmt.Sprintf("read a key: %v", err), "make one: orchd trust key " + file}
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.Mode().Perm()&0o077 != 0:
		return nil, &failure{exitUsage, fmt.Sprintf("others on this host can get at the key in %s (mode %04o)", path, info.Mode().Perm()), "close it: chmod 600 " + path}
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return nil, err
	}
	key, err := voucher.ParseKey(string(text))
	if err != nil {
		return nil, usagef("%s: %v", path, err)
	}
	return key, nil
}

// weighed is what get_weight answers.
type weighed struct {
	Key    string `json:"key"`
	Weight *int   `json:"weight"`
}

func (a *App) trustWeight() *cobra.Command {
	return a.verb(verb{
		use:     "weight KEY",
		short:   "Say what a public key weighs; 0: nobody trusts it",
		example: "orchd trust weight $(orchd trust public /root/trust.key)\norchd trust weight KEY -o json",
		min:     1, max: 1,
		run: func(ctx context.Context, args []string) error {
			if err := publicKey("KEY", args[0]); err != nil {
				return err
			}
			body, err := json.Marshal(map[string]string{"key": args[0]})
			if err != nil {
				return err
			}
			result, err := a.callService(ctx, trustService, "get_weight", api.ScopeCluster, body)
			if err != nil {
				return withoutTrust(err)
			}
			var got weighed
			if json.Unmarshal(result, &got) != nil || got.Weight == nil {
				return &failure{exitFailed, "the service trust-graph of this cluster answers in another way than that of the package trust-graph",
					"see for yourself: orchd service call trust-graph get_weight key=" + args[0]}
			}
			return a.object(got, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, *got.Weight)
				return err
			})
		},
	})
}

// publicKey refuses what is no public key.
func publicKey(name, text string) error {
	if voucher.IsKey(text) {
		return nil
	}
	return usagef("%s wants a public key, 64 of 0-9 and a-f as orchd trust public prints it, got %q", name, text)
}

// withoutTrust adds to a failure that there is no trust graph how one comes to be.
func withoutTrust(err error) error {
	if api.IsKind(err, api.NotFound) {
		return &failure{exitNotFound, message(err), "is the package trust-graph enabled, and has it been deployed? see orchd package list"}
	}
	return err
}

// statement is what the flags of certify and revoke say: whose key, and with which.
type statement struct {
	public, keyFile string
}

func (s *statement) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.public, "for", "", "the public key that it is about")
	f.StringVar(&s.keyFile, "key", "", "file with the key that signs it, as orchd trust key makes it")
	for _, name := range []string{"for", "key"} {
		_ = cmd.MarkFlagRequired(name) // it is there: see above
	}
}

// signer is the key that signs, when the flags make sense.
func (s statement) signer(a *App) (ed25519.PrivateKey, error) {
	if err := publicKey("--for", s.public); err != nil {
		return nil, err
	}
	key, err := a.trustKeyIn(s.keyFile)
	switch {
	case err != nil:
		return nil, err
	case key == nil:
		return nil, usagef("--key names no file")
	case voucher.Public(key) == s.public:
		return nil, usagef("--for is the public key of --key itself, and nobody vouches for himself; an admin makes roots: orchd service call trust-graph set_root key=%s", s.public)
	}
	return key, nil
}

const maxDays = 36500 // a hundred years

func (a *App) trustCertify() *cobra.Command {
	var s statement
	var days int
	cmd := a.verb(verb{
		use:   "certify",
		short: "Sign a certificate: the owner of a key trusts another one",
		long:  "Sign a certificate, by which the owner of one key trusts another, and print it. No cluster is asked; give it to trust-graph's insert_cert.",
		example: `
orchd trust certify --for KEY --key /root/root.key --days 365
orchd service call trust-graph insert_cert cert="$(orchd trust certify --for KEY --key ./root.key --days 90)"`,
		run: func(context.Context, []string) error {
			if days < 1 || days > maxDays {
				return usagef("--days wants 1 to %d, got %d", maxDays, days)
			}
			key, err := s.signer(a)
			if err != nil {
				return err
			}
			now := a.Now()
			return a.printSigned(voucher.Certify(key, s.public, now.Unix(), now.Add(time.Duration(days)*24*time.Hour).Unix()))
		},
	})
	s.register(cmd)
	cmd.Flags().IntVar(&days, "days", 365, "for how long")
	return cmd
}

func (a *App) trustRevoke() *cobra.Command {
	var s statement
	cmd := a.verb(verb{
		use:   "revoke",
		short: "Sign a revocation: the owner of a key trusts another one no more",
		long:  "Sign a revocation, by which the owner of one key trusts another no more, and print it. No cluster is asked; give it to trust-graph's revoke.",
		example: `
orchd trust revoke --for KEY --key /root/root.key
orchd service call trust-graph revoke revocation="$(orchd trust revoke --for KEY --key ./root.key)"`,
		run: func(context.Context, []string) error {
			key, err := s.signer(a)
			if err != nil {
				return err
			}
			return a.printSigned(voucher.Revoke(key, s.public, a.Now().Unix()))
		},
	})
	s.register(cmd)
	return cmd
}

// printSigned prints a statement as JSON on one line, unless another form was asked for.
func (a *App) printSigned(v any) error {
	return a.object(v, func(w io.Writer) error { return json.NewEncoder(w).Encode(v) })
}
