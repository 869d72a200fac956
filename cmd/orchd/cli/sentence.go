package cli

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

// flagSet tells which flags a command has; nil: of none is anything known.
type flagSet func(name string) bool

func flagsOf(cmd *cobra.Command) flagSet {
	return func(name string) bool { return cmd.Flags().Lookup(name) != nil }
}

// fieldLine says what is wrong with a field, as a person would say it.
func (has flagSet) fieldLine(f api.FieldError) string {
	pointer := strings.TrimPrefix(f.Pointer, "/")
	field := has.flagOf(pointer)
	if said, ok := sentence(pointer, f.Detail); ok {
		return strings.TrimSpace(field + " " + said)
	}
	if field == "" {
		return f.Detail
	}
	return field + ": " + f.Detail
}

// schemaWords are what the schema of a body says is wrong, and what a person would
// say; # stands for the limit.
var schemaWords = []struct {
	form *regexp.Regexp
	said string
}{
	{regexp.MustCompile(`^expected number <= (\S+)$`), "must be at most #"},
	{regexp.MustCompile(`^expected number >= (\S+)$`), "must be at least #"},
	{regexp.MustCompile(`^expected number < (\S+)$`), "must be less than #"},
	{regexp.MustCompile(`^expected number > (\S+)$`), "must be more than #"},
	{regexp.MustCompile(`^expected length <= (\d+)$`), "must have at most # characters"},
	{regexp.MustCompile(`^expected length >= (\d+)$`), "must have at least # characters"},
	{regexp.MustCompile(`^expected (?:array length <= |object with at most )(\d+)(?: properties)?$`), "may be given at most # times"},
	{regexp.MustCompile(`^expected (?:array length >= |object with at least )(\d+)(?: properties)?$`), "must be given at least # times"},
	{regexp.MustCompile(`^expected value to be one of "(.+)"$`), "must be #"},
	{regexp.MustCompile(`^expected string to match pattern (.+)$`), "#"},
	{regexp.MustCompile(`^expected (integer|number|string|boolean)$`), "must be #"},
	{regexp.MustCompile(`^(unexpected) property$`), "is not known to this peer: it may run another version of orchd"},
}

// sentence is a person's way to say what a schema says.
func sentence(pointer, detail string) (string, bool) {
	for _, w := range schemaWords {
		if m := w.form.FindStringSubmatch(detail); m != nil {
			return strings.ReplaceAll(w.said, "#", limit(pointer, m[1])), true
		}
	}
	return "", false
}

// patterns are the forms that names and sums must have, in words.
var patterns = map[string]string{
	`^[a-z0-9][a-z0-9-]{0,62}$`:  "must be 1 to 63 of a-z, 0-9 and -, and not begin with -",
	`^[a-z0-9][a-z0-9-]{0,50}$`:  "must be 1 to 51 of a-z, 0-9 and -, and not begin with -",
	`^[0-9a-f]{64}$`:             "must be 64 of 0-9 and a-f",
	`^[a-zA-Z0-9_.-]{1,15}$`:     "must be 1 to 15 letters, digits, _, . and -",
	`^[a-zA-Z0-9_.-]{1,63}$`:     "must be 1 to 63 letters, digits, _, . and -",
	`^[0-9]{4}-(0[1-9]|1[0-2])$`: "must be a month such as 2026-11",
}

var typesOfJSON = map[string]string{"integer": "a whole number", "number": "a number", "string": "text", "boolean": "true or false"}

// limit is a limit in the unit of the flag, and a form in words.
func limit(pointer, text string) string {
	if said, ok := patterns[text]; ok {
		return said
	}
	if strings.HasPrefix(text, "^") {
		return "is not in the form that it must have (" + text + ")"
	}
	if said, ok := typesOfJSON[text]; ok {
		return said
	}
	if strings.Contains(text, ", ") {
		return alternatives(strings.Split(text, ", "))
	}
	n, err := strconv.ParseFloat(text, 64) // a large one may be written 6.7108864e+07
	switch {
	case err != nil:
		return text
	case strings.HasSuffix(pointer, "memory_mib"):
		return mib(int64(n))
	case strings.HasSuffix(pointer, "disk_gib"):
		return gib(int64(n))
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

// flagNames are the flags that set fields of a body or a query.
var flagNames = map[string]string{
	"vcpus": "cpu", "memory_mib": "memory", "disk_gib": "disk", "size": "size", "image": "image", "network": "network",
	"ssh_keys": "ssh-key", "user_data": "cloud-init", "restart": "restart",
	"labels": "label", "account": "account", "format": "format", "sha256": "sha256", "url": "url", "path": "path", "peer": "peer",
	"kernel": "kernel", "initrd": "initrd", "cmdline": "cmdline",
	"cidr": "cidr", "gateway": "gateway", "first": "first", "last": "last", "cidr6": "cidr6", "gateway6": "gateway6",
	"dns": "dns", "bridge": "bridge", "libvirt": "libvirt", "pools": "pool", "mtu": "mtu",
	"vms": "vms", "addresses": "addresses", "reason": "reason", "timeout": "timeout", "ttl": "ttl", "uses": "uses", "role": "role", "month": "month", "tail": "tail",
	"scope": "scope", "script": "file", "call_ttl": "call-ttl", "count": "count", "trigger/clock": "every", "trigger/clock/start_sec": "at", "trigger/clock/end_sec": "until",
	"trigger/events": "on-event", "clock": "every", "events": "on-event", "kv": "kv", "grants": "grant", "spread": "spread", "state": "state",
	"placement/peer": "peer", "placement/labels": "require-label", "placement/group": "group", "placement/spread": "spread",
	"placement/spread_label": "spread", "placement/with": "with", "placement/apart_from": "apart-from",
}

// inList is what follows a list in a pointer: which item of it, and what of that.
var inList = regexp.MustCompile(`/[0-9]+(/.*)?$`)

// flagOf is the flag of the command that sets a field, and the field itself where none does.
func (has flagSet) flagOf(pointer string) string {
	field := pointer
	for _, around := range []string{"spec/", "quota/", "query/"} {
		field = strings.TrimPrefix(field, around)
	}
	field = inList.ReplaceAllString(field, "")
	if name, ok := flagNames[field]; ok && has != nil && has(name) {
		return "--" + name
	}
	return pointer
}
