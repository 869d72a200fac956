package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/cmd/orchd/config"
)

// sizeFlag is a size in whole units: --memory 4GiB, where the API wants MiB.
type sizeFlag struct {
	bytes, unit config.Size
}

func (f *sizeFlag) Type() string   { return "size" }
func (f *sizeFlag) String() string { return f.bytes.String() }
func (f *sizeFlag) units() int64   { return int64(f.bytes / f.unit) }

func (f *sizeFlag) Set(text string) error {
	n, err := config.ParseSize(text)
	if err != nil {
		return err
	}
	if _, err := n.Whole(f.unit); err != nil {
		return err
	}
	f.bytes = n
	return nil
}

// labelFlag collects KEY=VALUE, repeated or with commas between.
type labelFlag map[string]string

func (f *labelFlag) Type() string   { return "KEY=VALUE" }
func (f *labelFlag) String() string { return pairs(*f) }

func (f *labelFlag) Set(text string) error {
	if *f == nil {
		*f = labelFlag{}
	}
	for _, pair := range strings.Split(text, ",") {
		k, v, ok := strings.Cut(pair, "=")
		if !ok || k == "" {
			return fmt.Errorf("want KEY=VALUE, got %q", pair)
		}
		(*f)[k] = v
	}
	return nil
}

// durationFlag is a time to wait: nothing that has passed already.
type durationFlag time.Duration

func (f *durationFlag) Type() string { return "duration" }

// String is empty where there is no usual time, so that help names none.
func (f *durationFlag) String() string {
	if *f == 0 {
		return ""
	}
	return time.Duration(*f).String()
}

func (f *durationFlag) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return errors.New("want a time above 0, as 90s or 5m")
	}
	*f = durationFlag(d)
	return nil
}

// patience gives a command a flag for a time to wait.
func patience(cmd *cobra.Command, d *time.Duration, name string, usual time.Duration, what string) {
	*d = usual
	cmd.Flags().Var((*durationFlag)(d), name, what)
}

// oneOf is a flag that takes one of some words.
type oneOf struct {
	value *string
	words []string
}

func (f oneOf) Type() string   { return "string" }
func (f oneOf) String() string { return *f.value }

func (f oneOf) Set(text string) error {
	if !slices.Contains(f.words, text) {
		return fmt.Errorf("want %s", alternatives(f.words))
	}
	*f.value = text
	return nil
}

// choice gives a command a flag that takes one of some words, which Tab completes.
func (a *App) choice(cmd *cobra.Command, value *string, name string, known []string, what string) {
	cmd.Flags().Var(oneOf{value, known}, name, what)
	a.completeFlag(cmd, name, words(known))
}

// alternatives is "a, b or c".
func alternatives(all []string) string {
	if len(all) == 1 {
		return all[0]
	}
	return strings.Join(all[:len(all)-1], ", ") + " or " + all[len(all)-1]
}
