package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/orchd/orchd/api"
	"github.com/orchd/orchd/api/schema"
)

// checking is the flags of a verb that can look at its input before it sends it.
type checking struct {
	source
	dir    string
	dryRun bool
}

func (c *checking) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&c.file, "file", "f", "", "file with the input, - for stdin")
	f.StringVarP(&c.data, "data", "d", "", "the input itself")
	f.StringVar(&c.dir, "schema-dir", "", "check the input against DIR/KIND.json before it is sent")
	f.BoolVar(&c.dryRun, "dry-run", false, "check the input and send nothing; needs no server")
	cmd.MarkFlagsOneRequired("file", "data")
	cmd.MarkFlagsMutuallyExclusive("file", "data")
	_ = cmd.MarkFlagDirname("schema-dir") // it is there: see above
}

// check is what looks at an object here; nil leaves it to the server. A dry run
// without a folder goes by the schemas in this program.
func (c *checking) check(k fleetKind) (func([]byte) error, error) {
	if c.dir == "" {
		if c.dryRun {
			return schema.Published(k.name).Validate, nil
		}
		return nil, nil
	}
	text, err := os.ReadFile(filepath.Join(c.dir, k.name+".json"))
	if err != nil {
		return nil, usagef("read the schema: %v", err)
	}
	f, err := schema.Read(k.name, text)
	if err != nil {
		return nil, err
	}
	return f.Validate, nil
}

func (a *App) inventoryCreate() *cobra.Command {
	var from checking
	cmd := a.verb(verb{
		use:   "create KIND --file FILE|--data JSON",
		short: "Put objects into the inventory: one, an array, or one on each line",
		long: "Put objects into the inventory: one, an array, or one on each line.\nKIND is ComputeNode (node), BMC or NodeCollection (collection).\n" +
			"What is refused is told item by item; the rest is stored. -o json gives a list of what was.",
		example: `
orchd create node --file nodes.json
zcat nodes.ndjson.gz | orchd create node --file - --schema-dir schemas -o name
orchd create collection --data '{"name":"Partition 1","type":"partition","nodes":["x3000c12s12b3n3"]}'`,
		min: 1, max: 1,
		run: func(ctx context.Context, args []string) error {
			k, err := fleetKindOf(args[0])
			if err != nil {
				return err
			}
			return a.create(ctx, k, from)
		},
	})
	from.register(cmd)
	a.completeKind(cmd, 0)
	return cmd
}

func (a *App) create(ctx context.Context, k fleetKind, from checking) error {
	check, err := from.check(k)
	if err != nil {
		return err
	}
	l := load{app: a, kind: k, check: check, out: pages{app: a, printer: k.printer(a)}, said: a.Now()}
	if !from.dryRun {
		if l.client, err = a.client(); err != nil {
			return err
		}
	}
	text, err := from.open(a)
	if err != nil {
		return usage(err)
	}
	defer text.Close()
	l.dryRun = from.dryRun
	err = l.end(l.all(ctx, inputs(text)))
	if printErr := l.print(); printErr != nil {
		return printErr
	}
	return err
}

// load puts objects into the inventory, batch by batch.
type load struct {
	app    *App
	kind   fleetKind
	client client
	check  func([]byte) error // nil: the server alone judges
	dryRun bool
	out    pages
	said   time.Time // when progress was told last

	ahead          []*flight // batches that are on their way, oldest first
	stored, failed int
	codes          []int // exit codes of the failures, each once
	sole           json.RawMessage
}

// flight is a batch on its way, and what came back of it.
type flight struct {
	batch  []input
	stored []json.RawMessage
	err    error
	landed chan struct{}
}

// maxAhead is how many batches are on their way at once: while one is decided, the
// next is read and checked by the peer, and the one before is applied by the others.
const maxAhead = 3

// maxBatchBytes bounds a batch of large objects well below what a request may hold.
const maxBatchBytes = 16 << 20

// all sends the objects. Its error is what keeps it from going on.
func (l *load) all(ctx context.Context, objects func(func(input, error) bool)) error {
	var batch []input
	size := 0
	for in, err := range objects {
		if err == nil && l.check != nil {
			err = l.check(in.raw)
		}
		if err != nil {
			l.fail(in, err)
			continue
		}
		if len(batch) > 0 && (size+len(in.raw) > maxBatchBytes || len(batch) == l.kind.batch) {
			if err := l.launch(ctx, batch); err != nil {
				return errors.Join(err, l.landAll(ctx))
			}
			batch, size = nil, 0
		}
		batch = append(batch, in)
		size += len(in.raw)
	}
	err := l.landAll(ctx)
	if err != nil {
		return err
	}
	return l.send(ctx, batch)
}

// launch sends a batch on its way, once there is room for it. Objects of which
// each is a request of its own go one after the other.
func (l *load) launch(ctx context.Context, batch []input) error {
	if l.dryRun || l.kind.batch == 1 {
		return l.send(ctx, batch)
	}
	if len(l.ahead) == maxAhead {
		if err := l.land(ctx); err != nil {
			return err
		}
	}
	f := &flight{batch: batch, landed: make(chan struct{})}
	l.ahead = append(l.ahead, f)
	go func() {
		defer close(f.landed)
		f.stored, f.err = l.post(ctx, batch)
	}()
	return nil
}

// land waits for the oldest batch on its way and does what is left to do about it.
func (l *load) land(ctx context.Context) error {
	f := l.ahead[0]
	l.ahead = l.ahead[1:]
	<-f.landed
	return l.settle(ctx, f.batch, f.stored, f.err)
}

// landAll waits for all that is on its way. What is stored is counted even if
// something before it keeps the load from going on.
func (l *load) landAll(ctx context.Context) (first error) {
	for len(l.ahead) > 0 {
		if err := l.land(ctx); first == nil {
			first = err
		}
	}
	return first
}

// send stores a batch, without the items that are refused.
func (l *load) send(ctx context.Context, batch []input) error {
	switch {
	case len(batch) == 0:
		return nil
	case l.dryRun:
		l.stored += len(batch)
		return nil
	}
	stored, err := l.post(ctx, batch)
	return l.settle(ctx, batch, stored, err)
}

// settle does what is left to do about a batch that was answered: it counts it, or
// sends what was not at fault again.
func (l *load) settle(ctx context.Context, batch []input, stored []json.RawMessage, err error) error {
	switch {
	case err == nil:
		return l.note(stored, len(batch))
	case ctx.Err() != nil:
		return ctx.Err()
	}
	bad := refusedItems(err, len(batch))
	switch {
	case len(bad) == 0 && !aboutTheBody(err):
		return &failure{exitCode(err), fmt.Sprintf("stopped at %s: %s", batch[0].place(), message(err)), l.onward(err)}
	case len(bad) == 0 && len(batch) == 1:
		l.fail(batch[0], err)
		return nil
	case len(bad) == 0: // something in it, or its size: find out which half
		if err := l.send(ctx, batch[:len(batch)/2]); err != nil {
			return err
		}
		return l.send(ctx, batch[len(batch)/2:])
	}
	return l.send(ctx, l.without(batch, bad))
}

// post makes one request. Its tries carry one Idempotency-Key, so that a batch
// whose answer was lost is stored once.
func (l *load) post(ctx context.Context, batch []input) ([]json.RawMessage, error) {
	var options []api.CallOption
	format := l.app.flags.output
	unseen := len(batch) > 1 && (format == "table" || format == "wide") // nobody looks at what was stored
	if unseen {
		options = append(options, api.WithoutBody())
	}
	answer, err := l.client.api.Raw(ctx, http.MethodPost, l.kind.path(), bodyOf(batch), options...)
	switch {
	case err != nil:
		return nil, l.client.explained(answer, err)
	case unseen:
		return nil, nil
	case len(batch) == 1:
		return []json.RawMessage{answer.Body}, nil
	}
	var stored []json.RawMessage
	if err := json.Unmarshal(answer.Body, &stored); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return stored, nil
}

// bodyOf is a batch as the API takes it: an array, or the object itself.
func bodyOf(batch []input) []byte {
	if len(batch) == 1 {
		return batch[0].raw
	}
	var body bytes.Buffer
	for i, in := range batch {
		body.WriteString(map[bool]string{true: "[", false: ","}[i == 0])
		body.Write(in.raw)
	}
	body.WriteByte(']')
	return body.Bytes()
}

// aboutTheBody tells whether it was what was sent that was refused. All else
// would meet the next batch too.
func aboutTheBody(err error) bool {
	e, ok := errors.AsType[*api.Error](err)
	return ok && slices.Contains([]api.Kind{api.Invalid, api.Malformed, api.Conflict, api.TooLarge}, e.Kind)
}

// refusedItems are the faults of each item that an error points at.
func refusedItems(err error, size int) map[int]*api.Error {
	e, ok := errors.AsType[*api.Error](err)
	if !ok || size == 1 {
		return nil
	}
	bad := map[int]*api.Error{}
	for _, f := range e.Fields {
		first, rest, _ := strings.Cut(strings.TrimPrefix(f.Pointer, "/"), "/")
		i, err := strconv.Atoi(first)
		if err != nil || i < 0 || i >= size {
			continue
		}
		if bad[i] == nil {
			bad[i] = &api.Error{Kind: e.Kind, Op: e.Op, Msg: e.Msg}
		}
		bad[i].Fields = append(bad[i].Fields, api.FieldError{Pointer: "/" + rest, Detail: f.Detail})
	}
	return bad
}

// without tells of the bad items and gives the others.
func (l *load) without(batch []input, bad map[int]*api.Error) []input {
	var good []input
	for i, in := range batch {
		if e := bad[i]; e != nil {
			l.fail(in, e)
		} else {
			good = append(good, in)
		}
	}
	return good
}

// fail tells of an object that is not stored, and why.
func (l *load) fail(in input, err error) {
	l.failed++
	if code := exitCode(err); !slices.Contains(l.codes, code) {
		l.codes = append(l.codes, code)
	}
	l.app.warn("%s%s: %s", in.place(), in.label(), whole(err))
}

// whole is all that is wrong with an object.
func whole(err error) string {
	e, ok := errors.AsType[*api.Error](err)
	if !ok || len(e.Fields) == 0 {
		return message(err)
	}
	var all []string
	for _, f := range e.Fields {
		all = append(all, strings.TrimPrefix(flagSet(nil).fieldLine(f), ": "))
	}
	return strings.Join(all, "; ")
}

// progressEvery is how often a long load says how far it is.
const progressEvery = 2 * time.Second

// note counts what was stored and prints it where that was asked for.
func (l *load) note(stored []json.RawMessage, n int) error {
	l.stored += n
	if now := l.app.Now(); now.Sub(l.said) >= progressEvery {
		l.said = now
		l.app.say("%s", l.sofar())
	}
	if format := l.app.flags.output; format == "table" || format == "wide" {
		l.sole = nil
		if l.stored == 1 && len(stored) == 1 {
			l.sole = stored[0]
		}
		return nil
	}
	return l.out.add(stored)
}

// print ends what goes to stdout: a single object has a row of its own.
func (l *load) print() error {
	switch format := l.app.flags.output; {
	case l.dryRun:
		return nil
	case format == "table" || format == "wide":
		if l.sole == nil {
			return nil
		}
		return l.kind.printer(l.app).some(l.app, []json.RawMessage{l.sole})
	}
	return l.out.end()
}

func (l *load) sofar() string {
	verb := "stored"
	if l.dryRun {
		verb = "valid"
	}
	text := l.kind.many(l.stored) + " " + verb
	if l.failed > 0 {
		text += ", " + number(l.failed) + " failed"
	}
	return text
}

// onward says what to do about a load that stopped.
func (l *load) onward(err error) string {
	hint := "everything before that has been answered for; run it again with the rest"
	if api.IsKind(err, api.Unavailable) || len(l.ahead) > 0 {
		hint += ", of which some may be stored already"
	}
	if f, ok := errors.AsType[*failure](err); ok && f.hint != "" {
		hint = f.hint + "; " + hint
	} else if e, ok := errors.AsType[*api.Error](err); ok && hints[e.Kind] != "" {
		hint = hints[e.Kind] + "; " + hint
	}
	return hint
}

// end sums up. Where all failures are of one sort its exit code says which.
func (l *load) end(err error) error {
	l.app.say("%s", l.sofar())
	if err != nil || l.failed == 0 {
		return err
	}
	code := exitFailed
	if len(l.codes) == 1 {
		code = l.codes[0]
	}
	return &failure{code, fmt.Sprintf("%d of %s failed", l.failed, l.kind.many(l.failed+l.stored)), "mend what is told above and run it again with those alone"}
}
