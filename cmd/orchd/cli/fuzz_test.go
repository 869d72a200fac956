package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

// FuzzArgs reads command lines, a word a line, up to where a command would begin: they
// are refused with a sentence, or name a command with flags that have values.
func FuzzArgs(f *testing.F) {
	for _, line := range []string{"vm create web1 --cpu 2 --memory 4GiB", "vm create --memory -1", "vm", "vmm list", "--", "-- vm list", "vm list -o", "vm list --output=xml", "vm list --limit 99999999999999999999",
		"settings set voters=", "token create --role root --ttl 9e9h", "vm create a --label =", "vm create a --label a=b --label a=c", "peer lost h1 --name \xff", "-h", "help help", "__complete vm ", "completion bash", "raw GET /v1/../x",
		"snapshot download --to ../../x", "events --since 1.2.3", "--addr [::1 vm list", "vm list --addr=http://x", "orchd orchd"} {
		f.Add(strings.ReplaceAll(line, " ", "\n"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		var out bytes.Buffer
		a := App{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &out, Environ: nil, Now: time.Now}
		root := a.root()
		cmd, rest, err := root.Find(strings.Split(text, "\n"))
		if err == nil {
			if err = cmd.ParseFlags(rest); err == nil {
				err = cmd.ValidateArgs(cmd.Flags().Args())
			}
		}
		if err == nil {
			return
		}
		if a.explain(cmd, usage(err)); out.Len() == 0 {
			t.Errorf("%q is refused without a word: %v", text, err)
		}
	})
}
