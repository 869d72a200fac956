package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func (a *App) raw() *cobra.Command {
	var data string
	cmd := a.verb(verb{
		use:   "api METHOD PATH",
		short: "Call the HTTP API with this client's addresses and credential",
		example: `
orchd api GET /v1/vms
orchd api POST /v1/vms --data '{"name":"a","spec":{"vcpus":1,"memory_mib":64}}'
orchd api PUT /v1/vms/a --data @labels.json`,
		min: 2, max: 2,
		run: func(ctx context.Context, args []string) error {
			body, err := a.body(data)
			if err != nil {
				return err
			}
			return a.callRaw(ctx, strings.ToUpper(args[0]), args[1], body)
		},
	})
	cmd.Flags().StringVarP(&data, "data", "d", "", "body: JSON, @FILE, or - for stdin")
	return cmd
}

// body is the text itself, a file's or stdin's; nil for none.
func (a *App) body(data string) (any, error) {
	text := []byte(data)
	var err error
	switch path, isFile := strings.CutPrefix(data, "@"); {
	case data == "":
		return nil, nil
	case data == "-":
		text, err = io.ReadAll(a.Stdin)
	case isFile:
		text, err = os.ReadFile(path)
	}
	if err == nil && !json.Valid(text) {
		return nil, usagef("the body is no JSON")
	}
	return json.RawMessage(text), err
}

func (a *App) callRaw(ctx context.Context, method, path string, body any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(path, "/") {
		return usagef("PATH begins with /, as /v1/vms")
	}
	var answer json.RawMessage
	if err := c.do(ctx, call{method: method, path: path, in: body, out: &answer}); err != nil {
		return err
	}
	var pretty bytes.Buffer
	if len(answer) > 0 && json.Indent(&pretty, answer, "", "  ") == nil {
		pretty.WriteByte('\n')
		answer = pretty.Bytes()
	}
	_, err = a.Stdout.Write(answer)
	return err
}
