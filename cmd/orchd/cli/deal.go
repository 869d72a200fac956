package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
)

func (a *App) deal() *cobra.Command {
	return a.group("deal", "Numbers of alike virtual machines, which the decider keeps alive", `
orchd deal create front --count 3 --size f1-s --image debian-12 --network lan --spread peer
orchd deal show front
orchd deal update front --count 5`,
		a.dealCreate(), a.dealList(), a.dealShow(), a.dealUpdate(),
		a.dealAction("activate", "Have the workers of a deal made and kept alive"),
		a.dealAction("deactivate", "Have the workers of a deal removed; the deal stays"),
		a.dealDelete())
}

func (a *App) deals() listing[api.Deal] {
	type D = api.Deal
	return listing[D]{
		name: func(d D) string { return d.Name },
		columns: []column[D]{
			{head: "NAME", text: func(d D) string { return d.Name }},
			{head: "ACCOUNT", text: func(d D) string { return d.Account }},
			{head: "STATE", text: func(d D) string { return string(d.State) }},
			{head: "RUNNING", text: func(d D) string { return fmt.Sprintf("%d of %d", runningWorkers(d), d.Spec.Count) }, raw: func(d D) string { return number(runningWorkers(d)) }},
			{head: "COUNT", wide: true, text: func(d D) string { return number(d.Spec.Count) }},
			{head: "SIZE", text: func(d D) string { return workerSize(d.Spec) }, raw: func(d D) string { return d.Spec.Size }},
			{head: "IMAGE", text: func(d D) string { return d.Spec.Image }},
			{head: "NETWORK", wide: true, text: func(d D) string { return d.Spec.Network }},
			{head: "SPREAD", wide: true, text: func(d D) string { return d.Spec.Spread }},
			{head: "AGE", text: func(d D) string { return a.age(d.CreatedAt) }, key: "created_at", raw: func(d D) string { return moment(d.CreatedAt) }},
			{head: "REASON", text: func(d D) string { return oneLine(d.Reason) }, raw: func(d D) string { return d.Reason }},
			{head: "SOURCE", wide: true, text: func(d D) string { return d.Source }},
			{head: "ID", wide: true, text: func(d D) string { return d.ID }},
		},
	}
}

func runningWorkers(d api.Deal) (n int64) {
	for _, w := range d.Workers {
		if w.State == string(api.VMRunning) {
			n++
		}
	}
	return n
}

// workerSize is how large a worker is.
func workerSize(s api.DealSpec) string {
	if s.Size != "" {
		return s.Size
	}
	return fmt.Sprintf("%d vcpus, %s", s.VCPUs, mib(s.MemoryMiB))
}

func dealNames(ctx context.Context, a *App) ([]string, error) {
	return namesOf(ctx, a, "/v1/deals", func(d api.Deal) string { return d.Name })
}

func dealPath(ref string) string { return "/v1/deals/" + url.PathEscape(ref) }

// dealFlags say what workers are.
type dealFlags struct {
	spec         api.DealSpec
	memory, disk sizeFlag
}

func (d *dealFlags) register(a *App, cmd *cobra.Command) {
	d.memory.unit, d.disk.unit = config.MiB, config.GiB
	f := cmd.Flags()
	f.Int64Var(&d.spec.Count, "count", 0, "how many workers, up to 1000")
	f.StringVar(&d.spec.Size, "size", "", "a size, instead of --cpu and --memory")
	f.Int64Var(&d.spec.VCPUs, "cpu", 0, "virtual CPUs of each")
	f.Var(&d.memory, "memory", "memory of each, as 512MiB or 4GiB")
	f.Var(&d.disk, "disk", "disk of each, as 20GiB")
	f.StringVar(&d.spec.Image, "image", "", "image to boot")
	f.StringVar(&d.spec.Network, "network", "", "network that they are on")
	f.StringSliceVar(&d.spec.SSHKeys, "ssh-key", nil, "who may log in: names of SSH keys; may be repeated")
	f.StringVar(&d.spec.Spread, "spread", "", "keep them apart by peer, chassis, cabinet or label:KEY, as far as there is room")
	cmd.MarkFlagsMutuallyExclusive("size", "cpu")
	cmd.MarkFlagsMutuallyExclusive("size", "memory")
	a.completeFlag(cmd, "size", sizeNames)
	a.completeFlag(cmd, "image", imageNames)
	a.completeFlag(cmd, "network", networkNames)
	a.completeFlag(cmd, "ssh-key", sshKeyNames)
	a.completeFlag(cmd, "spread", words([]string{api.SpreadPeer, api.SpreadChassis, api.SpreadCabinet, api.SpreadLabel + ":"}))
}

// whole is what all flags say.
func (d *dealFlags) whole() api.DealSpec {
	s := d.spec
	s.MemoryMiB, s.DiskGiB = d.memory.units(), d.disk.units()
	s.Spread = strings.TrimPrefix(s.Spread, api.SpreadLabel+":") // a deal names the key alone
	return s
}

// patch is the part whose flags were given. Who gives a size takes the amounts away,
// and the other way round.
func (d *dealFlags) patch(cmd *cobra.Command) map[string]any {
	s, changes := d.whole(), map[string]any{}
	for flag, x := range map[string]struct {
		key   string
		value any
	}{
		"count": {"count", s.Count}, "size": {"size", s.Size}, "cpu": {"vcpus", s.VCPUs}, "memory": {"memory_mib", s.MemoryMiB}, "disk": {"disk_gib", s.DiskGiB},
		"image": {"image", s.Image}, "network": {"network", s.Network}, "ssh-key": {"ssh_keys", s.SSHKeys}, "spread": {"spread", s.Spread},
	} {
		if cmd.Flags().Changed(flag) {
			changes[x.key] = x.value
		}
	}
	_, sized := changes["size"]
	_, cpu := changes["vcpus"]
	_, memory := changes["memory_mib"]
	switch {
	case sized:
		changes["vcpus"], changes["memory_mib"] = nil, nil
	case cpu && memory:
		changes["size"] = nil
	}
	return changes
}

func (a *App) dealCreate() *cobra.Command {
	var d dealFlags
	want := api.DealCreate{}
	cmd := a.verb(verb{
		use:   "create NAME",
		short: "Ask for a number of alike virtual machines, NAME-1, NAME-2 and so on",
		example: `
orchd deal create front --count 3 --size f1-s --image debian-12 --network lan --ssh-key anna --spread peer
orchd deal create batch --count 10 --cpu 2 --memory 4GiB --image debian-12 --inactive`,
		min: 1, max: 1,
		run: func(ctx context.Context, args []string) error {
			want.Name, want.Spec = args[0], d.whole()
			var made api.Deal
			if err := a.send(ctx, call{method: "POST", path: "/v1/deals", in: want, out: &made}); err != nil {
				return err
			}
			if !want.Inactive {
				a.say("see its workers come: orchd deal show %s", made.Name)
			}
			return a.deals().result(a, made)
		},
	})
	d.register(a, cmd)
	cmd.Flags().BoolVar(&want.Inactive, "inactive", false, "make no workers yet: orchd deal activate does")
	accountFlag(a, cmd, &want.Account)
	cmd.MarkFlagRequired("count")
	cmd.MarkFlagsOneRequired("size", "cpu")
	return cmd
}

func (a *App) dealList() *cobra.Command {
	var account, state string
	cmd := a.verb(verb{
		use:     "list",
		short:   "List the deals and how many of their workers run",
		example: "orchd deal list\norchd deal list --account co-op -o wide",
		run: func(ctx context.Context, _ []string) error {
			items, err := list[api.Deal](ctx, a, "/v1/deals", filters("account", account, "state", state))
			if err != nil {
				return err
			}
			return a.deals().all(a, items)
		},
	})
	cmd.Aliases = []string{"ls"}
	cmd.Flags().StringVar(&account, "account", "", "only those of this account")
	states := []string{string(api.DealActive), string(api.DealInactive), string(api.DealEnding)}
	a.choice(cmd, &state, "state", states, "only in this state: "+alternatives(states))
	a.completeFlag(cmd, "account", accountNames)
	return cmd
}

func (a *App) dealShow() *cobra.Command {
	var account string
	cmd := a.verb(verb{
		use:     "show NAME",
		short:   "Show a deal and its workers",
		example: "orchd deal show front\norchd deal show front -o json",
		min:     1, max: 1, noun: dealNames,
		run: func(ctx context.Context, args []string) error {
			var d api.Deal
			if err := a.send(ctx, call{method: "GET", path: dealPath(args[0]), query: ofAccount(account), out: &d}); err != nil {
				return err
			}
			if err := a.deals().one(a, d); err != nil || a.flags.output != "table" && a.flags.output != "wide" {
				return err
			}
			return a.printWorkers(d.Workers)
		},
	})
	accountFlag(a, cmd, &account)
	return cmd
}

// printWorkers writes the workers of a deal below it.
func (a *App) printWorkers(workers []api.DealVM) error {
	if len(workers) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, "\nWORKER\tSTATE\tSEEN\tVM")
	for _, x := range workers {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", x.Name, dash(x.State), dash(a.age(x.SeenAt)), dash(x.VM))
	}
	return w.Flush()
}

func (a *App) dealUpdate() *cobra.Command {
	var d dealFlags
	var account string
	var cmd *cobra.Command
	cmd = a.verb(verb{
		use:   "update NAME",
		short: "Change how many workers a deal has, or what new ones are",
		long:  "Change how many workers a deal has, or what new ones are; workers that are there stay as they were made.",
		example: `
orchd deal update front --count 5
orchd deal update front --image debian-13 --size f1-m`,
		min: 1, max: 1, noun: dealNames,
		run: func(ctx context.Context, args []string) error {
			var now api.Deal
			k := call{method: "PATCH", path: dealPath(args[0]), query: ofAccount(account), in: map[string]any{"spec": d.patch(cmd)}, out: &now}
			if err := a.send(ctx, k); err != nil {
				return err
			}
			return a.deals().result(a, now)
		},
	})
	d.register(a, cmd)
	accountFlag(a, cmd, &account)
	cmd.MarkFlagsOneRequired("count", "size", "cpu", "memory", "disk", "image", "network", "ssh-key", "spread")
	return cmd
}

// dealAction is activate and deactivate.
func (a *App) dealAction(action, short string) *cobra.Command {
	var account string
	cmd := a.verb(verb{
		use: action + " NAME...", short: short, example: "orchd deal " + action + " front", min: 1, max: many, noun: dealNames,
		run: func(ctx context.Context, args []string) error {
			return a.onDeals(ctx, args, func(ref string) call {
				return call{method: "POST", path: dealPath(ref) + "/" + action, query: ofAccount(account)}
			})
		},
	})
	accountFlag(a, cmd, &account)
	return cmd
}

// onDeals does something to each deal and prints what came of it.
func (a *App) onDeals(ctx context.Context, refs []string, ask func(ref string) call) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var all []api.Deal
	failed := each(ctx, refs, func(ref string) error {
		var d api.Deal
		k := ask(ref)
		k.out = &d
		if err := c.do(ctx, k); err != nil {
			return err
		}
		all = append(all, d)
		return nil
	})
	if len(all) == 0 {
		return failed
	}
	return together(failed, a.deals().all(a, all))
}

func (a *App) dealDelete() *cobra.Command {
	var account string
	cmd := a.verb(verb{
		use:     "delete NAME...",
		short:   "End deals: their workers are deleted with their disks, and then they go",
		example: "orchd deal delete front\norchd deal delete batch --account co-op",
		min:     1, max: many, noun: dealNames,
		run: func(ctx context.Context, args []string) error {
			return a.onDeals(ctx, args, func(ref string) call {
				a.say("ending %s: its workers and their disks go", ref)
				return call{method: "DELETE", path: dealPath(ref), query: ofAccount(account)}
			})
		},
	})
	cmd.Aliases = []string{"rm"}
	accountFlag(a, cmd, &account)
	return cmd
}
