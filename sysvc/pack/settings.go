package pack

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api/nearest"
)

// override is base with the values of over in place of its own. Only what base has can
// be set, to a value of the same sort. at says where a setting stands.
func override(base, over map[string]any, at func(path string) string) (map[string]any, error) {
	all, errs := maps.Clone(base), []error(nil)
	for _, name := range slices.Sorted(maps.Keys(over)) {
		was, known := base[name]
		if !known {
			errs = append(errs, fmt.Errorf("%s: unknown setting %s; %s", at(name), name, meant(name, slices.Sorted(maps.Keys(base)))))
			continue
		}
		v, err := alike(over[name], was)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: setting %s: %w", at(name), name, err))
			continue
		}
		all[name] = v
	}
	return all, errors.Join(errs...)
}

// meant says which of some names a wrong one was probably meant to be.
func meant(name string, names []string) string {
	if near := nearest.Of(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	if len(names) == 0 {
		return "there are none"
	}
	return "there are: " + strings.Join(names, ", ")
}

// alike is v as a value of the sort that was is. The environment has texts only.
func alike(v, was any) (any, error) {
	v = plain(v)
	text, isText := v.(string)
	switch was.(type) {
	case bool:
		switch v {
		case true, "true":
			return true, nil
		case false, "false":
			return false, nil
		}
		return nil, fmt.Errorf("want true or false, got %v", v)
	case int64:
		if n, err := strconv.ParseInt(text, 10, 64); isText && err == nil {
			return n, nil
		}
		if n, is := v.(int64); is {
			return n, nil
		}
		return nil, fmt.Errorf("want a whole number, got %v", v)
	case float64:
		return fraction(v)
	case string:
		switch v.(type) {
		case string, int64, bool: // a text that looks like a number is one in the environment
			return fmt.Sprint(v), nil
		}
		return nil, fmt.Errorf("want a text, got %v", v)
	case []any:
		if isText {
			return list(text), nil
		}
		if all, is := v.([]any); is {
			return all, nil
		}
		return nil, fmt.Errorf(`want a list such as ["a", "b"], got %v`, v)
	case map[string]any:
		if table, is := v.(map[string]any); is {
			return table, nil
		}
		return nil, fmt.Errorf("want a table such as {a = 1}, got %v", v)
	}
	return v, nil
}

// plain is a value of a configuration in the types that a TOML file has.
func plain(v any) any {
	switch v := v.(type) {
	case int:
		return int64(v)
	case []string:
		all := make([]any, len(v))
		for i, s := range v {
			all[i] = s
		}
		return all
	}
	return v
}

func fraction(v any) (any, error) {
	switch v := v.(type) {
	case float64:
		return v, nil
	case int64:
		return float64(v), nil
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("want a number, got %v", v)
}

func list(text string) []any {
	all := []any{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// reference is a text that stands for a setting.
var reference = regexp.MustCompile(`^\$[a-z][a-z0-9_]*$`)

// filler puts settings in the place of the texts that name them.
type filler struct {
	settings map[string]any
	at       func(path string) string
	errs     []error
}

// fill is v, which stands at path, with the settings that it names. A list that stands
// for an element of a list becomes part of it.
func (f *filler) fill(path string, v any) any {
	switch v := v.(type) {
	case string:
		if !reference.MatchString(v) {
			return v
		}
		value, known := f.settings[v[1:]]
		if !known {
			f.errs = append(f.errs, fmt.Errorf("%s: %s names no setting; %s", f.at(path), v, meant(v[1:], slices.Sorted(maps.Keys(f.settings)))))
		}
		return value
	case map[string]any:
		filled := make(map[string]any, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			filled[name] = f.fill(path+"."+name, v[name])
		}
		return filled
	case []any:
		filled := make([]any, 0, len(v))
		for i, e := range v {
			value := f.fill(fmt.Sprintf("%s[%d]", path, i), e)
			if text, was := e.(string); was && reference.MatchString(text) {
				if many, is := value.([]any); is {
					filled = append(filled, many...)
					continue
				}
			}
			filled = append(filled, value)
		}
		return filled
	}
	return v
}

// hostOf is the HOST or HOST:PORT of what a package may speak HTTP to, which may also be
// written as a URL or as a multiaddr, as settings have it. Empty: of none.
func hostOf(address string) (string, error) {
	switch {
	case address == "":
		return "", nil
	case strings.HasPrefix(address, "/"):
		return hostOfMultiaddr(address)
	case strings.Contains(address, "://"):
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
			return "", fmt.Errorf("%q is no URL of http or https with a host", address)
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		return net.JoinHostPort(u.Hostname(), port), nil
	case strings.ContainsAny(address, "/ @?#"):
		return "", fmt.Errorf("%q is neither HOST, HOST:PORT, a URL nor a multiaddr", address)
	}
	return address, nil
}

// hostOfMultiaddr takes /ip4/127.0.0.1/tcp/5001, and dns names in place of the IP.
func hostOfMultiaddr(address string) (string, error) {
	parts := strings.Split(address, "/")
	if len(parts) < 5 || !slices.Contains([]string{"ip4", "ip6", "dns", "dns4", "dns6"}, parts[1]) || parts[3] != "tcp" {
		return "", fmt.Errorf("%q is no multiaddr such as /ip4/127.0.0.1/tcp/5001", address)
	}
	if _, err := strconv.ParseUint(parts[4], 10, 16); err != nil || parts[2] == "" {
		return "", fmt.Errorf("%q is no multiaddr such as /ip4/127.0.0.1/tcp/5001", address)
	}
	return net.JoinHostPort(parts[2], parts[4]), nil
}
