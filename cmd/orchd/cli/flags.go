package cli

import (
	"fmt"
	"strings"

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
