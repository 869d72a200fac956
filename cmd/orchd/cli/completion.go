package cli

import (
	"context"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// noun lists the names that an argument or a flag may have just now.
type noun func(context.Context, *App) ([]string, error)

func vmNames(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/vms", func(v api.VM) string { return v.Name })
}

func peerNames(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/peers", func(p api.PeerView) string { return p.Name })
}

func imageNames(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/images", func(i api.Image) string { return i.Name })
}

func accountNames(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/accounts", func(x api.Account) string { return x.Name })
}

func tokenIDs(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/tokens", func(t api.Token) string { return t.ID })
}

func operationIDs(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/operations", func(o api.Operation) string { return o.ID })
}

func snapshotIDs(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/snapshots", func(s api.Snapshot) string { return s.ID })
}

func vmStates(context.Context, *App) ([]string, error) {
	return []string{"assigned", "creating", "running", "stopped", "paused", "crashed", "failed", "deleting", "unknown", "lost"}, nil
}

// words is a noun whose names never change.
func words(fixed []string) noun {
	return func(context.Context, *App) ([]string, error) { return fixed, nil }
}

// nameTime is how long a person waits for the Tab key, or for a "did you mean".
const nameTime = 2 * time.Second

func namesOf[T any](ctx context.Context, a *App, path string, name func(T) string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, nameTime)
	defer cancel()
	items, err := list[T](ctx, a, path, nil)
	var names []string
	for _, item := range items {
		names = append(names, name(item))
	}
	return names, err
}

// completeArgs completes up to max arguments with the live names of n, each once.
func (a *App) completeArgs(n noun, max int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if n == nil || len(args) >= max {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := n(cmd.Context(), a)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return slices.DeleteFunc(names, func(s string) bool { return slices.Contains(args, s) }), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes the value of a flag. It panics if there is no such flag: that is a slip in this package.
func (a *App) completeFlag(cmd *cobra.Command, flag string, n noun) {
	complete := a.completeArgs(n, 1)
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return complete(cmd, nil, typed)
	})
	if err != nil {
		panic(err)
	}
}

var shells = []string{"bash", "zsh", "fish", "powershell"}

func (a *App) completion() *cobra.Command {
	var cmd *cobra.Command
	cmd = a.verb(verb{
		use:   "completion SHELL",
		short: "Print the completion script of a shell: bash, zsh, fish or powershell",
		example: `
source <(orchd completion bash)
orchd completion zsh > "${fpath[1]}/_orchd"
orchd completion fish > ~/.config/fish/completions/orchd.fish`,
		min: 1, max: 1, noun: words(shells),
		run: func(_ context.Context, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.Stdout)
			case "fish":
				return root.GenFishCompletion(a.Stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.Stdout)
			}
			return unknownWord("shell", args[0], shells)
		},
	})
	return cmd
}

// completeGlobals completes the flags that every command takes.
func (a *App) completeGlobals(root *cobra.Command) {
	a.completeFlag(root, "output", words(formats))
	a.completeFlag(root, "context", contextNames)
}

func contextNames(_ context.Context, a *App) ([]string, error) {
	path := a.profilePath()
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := parseProfile(path, text)
	return slices.Sorted(maps.Keys(p.Contexts)), err
}
