package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) peerLost() *cobra.Command {
	var sure, reason string
	cmd := a.verb(verb{
		use:   "lost NAME",
		short: "State that a host is off for good and will never come back (admins only)",
		long: "State that a host is off for good and will never come back (admins only). Its virtual machines become lost and\n" +
			"can be deleted, what was being deleted there is gone, their addresses are free for others, and its id is never\n" +
			"admitted again. If it is NOT off, guests may run twice and addresses have two holders: pull its plug first.\n" +
			"The statement is recorded with your name. It asks for the peer's name, or takes it from --yes-i-am-sure.",
		example: `
orchd peer lost h3
orchd peer lost h3 --yes-i-am-sure h3 --reason "burnt on 3 November"`,
		min: 1, max: 1, noun: peerNames,
		run: func(ctx context.Context, args []string) error { return a.losePeer(ctx, args[0], sure, reason) },
	})
	cmd.Flags().StringVar(&sure, "yes-i-am-sure", "", "the peer's name once more, instead of being asked for it")
	cmd.Flags().StringVar(&reason, "reason", "", "for the record")
	return cmd
}

func (a *App) losePeer(ctx context.Context, ref, sure, reason string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var p api.PeerView
	if err := c.get(ctx, peerPath(ref), nil, &p); err != nil {
		return err
	}
	vms, err := list[api.VM](ctx, a, "/v1/vms", url.Values{"peer": {p.ID}})
	if err != nil {
		return err
	}
	a.say("%s (%s), %s, owns %s%s", p.Name, p.ID, p.Health, counted(len(vms), "virtual machine"), someNames(vms))
	if p.Health == "alive" {
		a.say("it is on and answers just now: pull its plug before you go on, or guests may run twice")
	}
	a.say("you state that this host is off for good: they become lost, and their addresses are free for others")
	if sure == "" {
		if sure, err = a.typed("type the peer's name to go on: "); err != nil {
			return err
		}
	}
	if sure != p.Name {
		return &failure{exitUsage, fmt.Sprintf("not done: %q is not the peer's name", sure), "the name is " + p.Name}
	}
	var lost api.Peer
	if err := c.do(ctx, call{method: "POST", path: peerPath(p.ID) + "/lost", in: api.PeerLost{Name: sure, Reason: reason}, out: &lost}); err != nil {
		return err
	}
	a.say("%s is lost; see what it owned with: orchd vm list --state lost", p.Name)
	p.Peer = lost
	return a.peers().result(a, p)
}

// someNames is the names of up to ten VMs, in brackets.
func someNames(vms []api.VM) string {
	var names []string
	for _, vm := range vms[:min(len(vms), 10)] {
		names = append(names, vm.Name)
	}
	switch {
	case len(names) == 0:
		return ""
	case len(vms) > len(names):
		names = append(names, "...")
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// typed lets a person type a word for what must not be said by habit.
func (a *App) typed(question string) (string, error) {
	in, readable := a.Stdin.(io.Writer) // a terminal can be written to as well
	if !readable || !isTerminal(in) || !isTerminal(a.Stderr) {
		return "", &failure{exitUsage, "there is nobody to ask: this is no terminal", "give the peer's name with --yes-i-am-sure NAME"}
	}
	fmt.Fprint(a.Stderr, question)
	answer, err := bufio.NewReader(a.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return strings.TrimSpace(answer), nil
}
