package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/cmd/orchd/config"
)

// age is how long ago t was, in its largest unit that counts at least two, as kubectl writes it.
func (a *App) age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := max(a.Now().Sub(t), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// moment is t as programs read it; empty for no time.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func mib(n int64) string { return (config.Size(n) * config.MiB).String() }
func gib(n int64) string { return (config.Size(n) * config.GiB).String() }

func number[N int | int64 | uint64](n N) string { return fmt.Sprint(n) }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// pairs writes labels in the order of their keys: "a=1,b=2".
func pairs(labels map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, k+"="+labels[k])
	}
	return strings.Join(all, ",")
}

// used writes how much of a host is promised: "4/32".
func used(reserved, room int64, unit func(int64) string) string {
	return unit(reserved) + "/" + unit(room)
}

// hostParts writes who has which part in an operation.
func hostParts(parts []api.HostPart) string {
	var all []string
	for _, p := range parts {
		all = append(all, hostLine(p.Peer, p.Status, p.Reason))
	}
	return strings.Join(all, "; ")
}
