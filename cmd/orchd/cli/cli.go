// Package cli is the command line of orchd: one cobra command per verb, each a
// thin one. A client command finds a peer, makes one or a few calls of the HTTP
// API and prints the answer; init, join and serve read the configuration and
// hand it to a peer.
//
// What always holds: stdout carries data only, everything else goes to stderr;
// nothing prompts but for a yes, at a terminal, where --yes would do; exit codes
// are decided in errors.go and nowhere else.
// To add a verb, read account.go and do the same.
package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// App is the program and all that it touches of the outside.
type App struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environ        []string
	Now            func() time.Time
	Daemon         Daemon

	flags   globals
	started bool // a command began; errors before that are wrong usage
}

// Main runs the command line of this process and gives its exit code.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends the process at once
	a := App{os.Stdin, os.Stdout, os.Stderr, os.Environ(), time.Now, thisPeer{}, globals{}, false}
	return a.Run(ctx, os.Args[1:])
}

// Run runs one command line, without the program's name. It gives the exit
// code; what went wrong has been written to Stderr.
func (a *App) Run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.started {
		err = usage(err)
	}
	a.explain(cmd, err)
	return exitCode(err)
}

func (a *App) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "orchd",
		Short: "Virtual machines on 1 to 100 Linux hosts, each owned by exactly one of them",
		Example: `  orchd dev                                   # try it out: three peers on this machine
  orchd vm create web1 --image debian-12 --cpu 2 --memory 4GiB
  orchd status                                # is the cluster well, and what to do if not`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs, // helpOrUnknown says what is wrong with them
		RunE:          a.helpOrUnknown,
	}
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(helpTemplate)
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.DisableDefaultCmd = true
	root.Flags().BoolP("help", "h", false, "")
	_ = root.Flags().MarkHidden("help") // whoever reads this has found it
	a.flags.register(root, cmp.Or(a.env("ORCHD_OUTPUT"), "table"))
	a.completeGlobals(root)
	root.AddGroup(&cobra.Group{ID: "peer", Title: "This host"}, &cobra.Group{ID: "cluster", Title: "The cluster"},
		&cobra.Group{ID: "catalogue", Title: "What virtual machines need"}, &cobra.Group{ID: "inventory", Title: "The inventory of a fleet"},
		&cobra.Group{ID: "services", Title: "System services"},
		&cobra.Group{ID: "other", Title: "Other"})
	add(root, "peer", a.initCluster(), a.join(), a.serve(), a.leave(), a.dev(), a.config())
	add(root, "cluster", a.status(), a.doctor(), a.vm(), a.peer(), a.token(), a.operation(), a.snapshot(), a.events(), a.settings(), a.keys(), a.capacity(), a.sql(),
		a.domain(), a.recovery())
	add(root, "catalogue", a.account(), a.image(), a.network(), a.size(), a.sshKey())
	add(root, "inventory", a.inventoryCreate(), a.inventoryGet(), a.inventoryUpdate(), a.inventoryDelete(), a.schemas())
	add(root, "services", a.service(), a.spell(), a.deal(), a.pkg(), a.registry(), a.trust())
	add(root, "other", a.raw(), a.raft(), a.version(), a.completion())
	root.SetHelpCommandGroupID("other")
	return root
}

func add(parent *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
	}
	parent.AddCommand(commands...)
}

// verb is a command that does something.
type verb struct {
	use, short, long, example string
	min, max                  int  // how many arguments it takes
	noun                      noun // what its arguments name
	run                       func(ctx context.Context, args []string) error
}

// many is the max of a verb that takes any number of arguments.
const many = 1 << 16

func (a *App) verb(v verb) *cobra.Command {
	return &cobra.Command{
		Use:                   v.use,
		Short:                 v.short,
		Long:                  v.long,
		Example:               indent(v.example),
		DisableFlagsInUseLine: true,
		Args:                  v.takes,
		ValidArgsFunction:     a.completeArgs(v.noun, v.max),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.started = true
			return a.didYouMean(cmd.Context(), v.noun, args, v.run(cmd.Context(), args))
		},
	}
}

func (v verb) takes(cmd *cobra.Command, args []string) error {
	if len(args) < v.min || len(args) > v.max {
		return fmt.Errorf("want: %s", strings.TrimSuffix(cmd.UseLine(), " [flags]"))
	}
	return nil
}

// group is a noun whose verbs are the commands below it.
func (a *App) group(name, short, example string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Example: indent(example), RunE: a.helpOrUnknown}
	cmd.AddCommand(verbs...)
	return cmd
}

// helpOrUnknown is what a noun without a verb does, and one with a verb that does not exist.
func (a *App) helpOrUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return unknownWord("command", args[0], names)
}

func indent(example string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(example), "\n", "\n  ")
}

const helpTemplate = `{{with (or .Long .Short)}}{{. | trimTrailingWhitespaces}}
{{end}}
{{.UsageString}}`

const usageTemplate = `{{if .HasExample}}Examples:
{{.Example}}
{{if .HasParent}}
{{end}}{{end}}{{if .HasParent}}Usage:
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}{{if .HasAvailableLocalFlags}} [flags]{{end}}
{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{if .Groups}}{{range $group := .Groups}}{{if not (or (eq .ID "inventory") (eq .ID "services") (eq .ID "other"))}}
{{end}}{{.Title}}:{{if or (eq .ID "catalogue") (eq .ID "inventory") (eq .ID "services") (eq .ID "other")}}{{range $cmds}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}} {{.Name}}{{end}}{{end}}{{else}}{{range $cmds}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}
{{end}}{{else}}
Commands:{{range $cmds}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{end}}{{end}}{{if .HasAvailableLocalFlags}}
Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}{{if .HasParent}}
Flags that every command takes: orchd --help
{{end}}`
