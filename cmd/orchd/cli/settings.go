package cli

import (
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
)

func (a *App) settings() *cobra.Command {
	return a.group("settings", "What must be alike on all peers: voters, retention, credentials of the inventory", `
orchd settings show
orchd settings set snapshot.interval=2h snapshot.retain=48`,
		a.settingsShow(), a.settingsSet())
}

// setting is one of api.Settings by its name on the command line.
type setting struct {
	name string
	text func(api.Settings) string
	json func(value string) (any, error) // what it is in a patch
}

// settingNames are all of them, as the configuration of a peer names them too.
var settingNames = []setting{
	{"voters", func(s api.Settings) string { return number(s.Voters) }, wholeNumber},
	{"snapshot.interval", func(s api.Settings) string { return s.Snapshot.Interval }, asText},
	{"snapshot.retain", func(s api.Settings) string { return number(s.Snapshot.Retain) }, wholeNumber},
	{"snapshot.daily", func(s api.Settings) string { return number(s.Snapshot.Daily) }, wholeNumber},
	{"snapshot.monthly", func(s api.Settings) string { return number(s.Snapshot.Monthly) }, wholeNumber},
	{"history.retain_for", func(s api.Settings) string { return s.History.RetainFor }, asText},
	{"trust.join_weight", func(s api.Settings) string { return number(s.Trust.JoinWeight) }, wholeNumber},
	{"trust.image_weight", func(s api.Settings) string { return number(s.Trust.ImageWeight) }, wholeNumber},
	{"auth.jwt_secret", secretSet, asText},
	{"auth.jwks", func(s api.Settings) string { return s.Auth.JWKS }, asText},
	{"auth.issuer", func(s api.Settings) string { return s.Auth.Issuer }, asText},
	{"auth.audience", func(s api.Settings) string { return s.Auth.Audience }, asText},
	{"auth.anonymous_read", func(s api.Settings) string { return strconv.FormatBool(s.Auth.AnonymousRead) }, trueFalse},
	{"auth.smd_anonymous", func(s api.Settings) string { return strconv.FormatBool(s.Auth.SMDAnonymous) }, trueFalse},
	{"auth.jwt_role", func(s api.Settings) string { return string(s.Auth.JWTRole) }, asText},
}

// secretSetting is never given on the command line: everybody on the host can read that.
const secretSetting = "auth.jwt_secret"

func secretSet(s api.Settings) string {
	if s.Auth.JWTSecretSet {
		return "(set)"
	}
	return ""
}

func asText(value string) (any, error) { return value, nil }

func wholeNumber(value string) (any, error) {
	n, err := strconv.Atoi(value)
	if err != nil {
		return nil, usagef("want a whole number, got %q", value)
	}
	return n, nil
}

func trueFalse(value string) (any, error) {
	switch value {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return nil, usagef("want true or false, got %q", value)
}

func (a *App) settingsShow() *cobra.Command {
	return a.verb(verb{
		use:     "show",
		short:   "Show the settings that are in force on all peers",
		example: "orchd settings show\norchd settings show -o json",
		run: func(ctx context.Context, _ []string) error {
			s, err := show[api.Settings](ctx, a, "/v1/settings")
			if err != nil {
				return err
			}
			return a.printSettings(s)
		},
	})
}

func (a *App) settingsSet() *cobra.Command {
	cmd := a.verb(verb{
		use:   "set NAME=VALUE...",
		short: "Change settings on all peers at once; NAME- gives one its default again",
		long: `Change settings on all peers at once, without a restart; NAME- gives one its
default again, NAME=@FILE takes the value from a file (@- from stdin), as a secret has
to be given. Several take effect together or not at all.`,
		example: `
orchd settings set snapshot.interval=2h snapshot.retain=48 history.retain_for=2160h
orchd settings set auth.jwt_secret=@/root/jwt.secret auth.anonymous_read=true
orchd settings set snapshot.daily-          # the default again`,
		min: 1, max: many,
		run: func(ctx context.Context, args []string) error {
			patch, err := a.settingsPatch(args)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var s api.Settings
			if err := c.do(ctx, call{method: http.MethodPatch, path: "/v1/settings", in: patch, out: &s}); err != nil {
				return err
			}
			return a.printSettings(s)
		},
	})
	cmd.ValidArgsFunction = completeSettings
	return cmd
}

// printSettings prints them by their names; as JSON and YAML they are nested.
func (a *App) printSettings(s api.Settings) error {
	if format := a.flags.output; format == "json" || format == "yaml" {
		return printObject(a.Stdout, format, s)
	}
	l := listing[setting]{
		name:  func(x setting) string { return x.name },
		order: func(setting, setting) int { return 0 },
		columns: []column[setting]{
			{head: "NAME", text: func(x setting) string { return x.name }},
			{head: "VALUE", text: func(x setting) string { return x.text(s) }},
		},
	}
	return l.all(a, append([]setting(nil), settingNames...))
}

// settingsPatch is the merge patch that NAME=VALUE and NAME- mean.
func (a *App) settingsPatch(args []string) (map[string]any, error) {
	patch := map[string]any{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		reset := !ok && strings.HasSuffix(arg, "-")
		if !ok && !reset {
			return nil, usagef("want NAME=VALUE, or NAME- for the default, got %q", arg)
		}
		x, err := settingNamed(strings.TrimSuffix(name, "-"))
		if err != nil {
			return nil, err
		}
		if reset {
			put(patch, x.name, nil)
			continue
		}
		v, err := a.settingValue(x, value)
		if err != nil {
			return nil, err
		}
		put(patch, x.name, v)
	}
	return patch, nil
}

func settingNamed(name string) (setting, error) {
	var names []string
	for _, x := range settingNames {
		if x.name == name {
			return x, nil
		}
		names = append(names, x.name)
	}
	return setting{}, unknownWord("setting", name, names)
}

// settingValue is a value as it stands in a patch.
func (a *App) settingValue(x setting, value string) (any, error) {
	if _, isFile := strings.CutPrefix(value, "@"); !isFile {
		if x.name == secretSetting && value != "" {
			return nil, &failure{exitUsage, "a secret on the command line can be read by everybody on this host", "put it into a file and give " + x.name + "=@FILE"}
		}
		v, err := x.json(value)
		if err != nil {
			return nil, usagef("%s: %s", x.name, err.Error())
		}
		return v, nil
	}
	text, err := a.fileText(value[1:])
	if err != nil {
		return nil, err
	}
	return x.json(text)
}

// fileText is what a file, or stdin for "-", holds, without the newline at its end.
func (a *App) fileText(path string) (string, error) {
	read := func() ([]byte, error) { return os.ReadFile(path) }
	if path == "-" {
		read = func() ([]byte, error) { return io.ReadAll(a.Stdin) }
	}
	text, err := read()
	return strings.TrimSuffix(string(text), "\n"), err
}

// put sets what a dotted name means in a patch.
func put(patch map[string]any, name string, value any) {
	outer, inner, nested := strings.Cut(name, ".")
	if !nested {
		patch[name] = value
		return
	}
	part, ok := patch[outer].(map[string]any)
	if !ok {
		part = map[string]any{}
		patch[outer] = part
	}
	put(part, inner, value)
}

// completeSettings completes NAME=, each once.
func completeSettings(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	given := map[string]bool{}
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		given[strings.TrimSuffix(name, "-")] = true
	}
	var left []string
	for _, x := range settingNames {
		if !given[x.name] {
			left = append(left, x.name+"=")
		}
	}
	return left, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
