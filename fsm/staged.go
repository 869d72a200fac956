package fsm

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/orchd/orchd/api"
)

// chunk is a piece of a command that is too large for one log entry. Chunks are
// seen by nobody; one commit puts the pieces together and applies the command, all
// of it or nothing. What is never committed is swept.
type chunk struct {
	ID    string    `json:"id"` // "<command id>/<number of the piece>"
	Bytes []byte    `json:"bytes"`
	At    time.Time `json:"at"`
}

var staged = &table[chunk]{
	name:        "staged",
	bookkeeping: true,
	key:         func(c *chunk) string { return c.ID },
}

const (
	chunkSize   = 400 << 10 // bytes of a chunk: with its envelope it fits into a log entry
	chunkLife   = 10 * time.Minute
	maxChunks   = 400 // of one command: 160 MB
	chunksAhead = 4   // chunks on their way at once
)

func chunkID(command string, k int) string { return fmt.Sprintf("%s/%06d", command, k) }

type chunkStage struct {
	Command string `cbor:"1,keyasint"`
	K       int    `cbor:"2,keyasint"`
	Bytes   []byte `cbor:"3,keyasint"`
}

func applyStageChunk(tx *Txn, c chunkStage) (object, error) {
	if c.K < 0 || c.K >= maxChunks || c.Command == "" {
		return nothing, api.Errorf(api.Invalid, "stage", "chunk %d of %q is out of range", c.K, c.Command)
	}
	staged.put(tx, chunk{ID: chunkID(c.Command, c.K), Bytes: c.Bytes, At: tx.Now})
	return nothing, nil
}

// stagedCommit applies a command whose body lies in chunks; its id is that of the commit.
type stagedCommit struct {
	Type   Type   `cbor:"1,keyasint"`
	V      uint8  `cbor:"2,keyasint"`
	Chunks int    `cbor:"3,keyasint"`
	SHA256 []byte `cbor:"4,keyasint"` // of the body
}

func applyCommitStaged(tx *Txn, c stagedCommit) (object, error) {
	a, known := commands[kind{c.Type, c.V}]
	if !known || c.Type == commitStaged || a.level > Level() {
		panic(undecodable{fmt.Errorf("staged command type %d version %d is unknown to this release", c.Type, c.V)})
	}
	body, err := tx.assembled(c)
	if err != nil {
		return nothing, err
	}
	return a.apply(tx, body)
}

// assembled is the body that lies in the chunks of a commit.
func (tx *Txn) assembled(c stagedCommit) ([]byte, error) {
	var body []byte
	for k := range c.Chunks {
		piece, ok := staged.one(tx.Reader, chunkID(tx.ID, k))
		if !ok {
			return nil, api.Errorf(api.Unavailable, "stage", "chunk %d of %d is not there, or was swept after %v: send the request again", k, c.Chunks, chunkLife)
		}
		body = append(body, piece.Bytes...)
	}
	if sum := sha256.Sum256(body); string(sum[:]) != string(c.SHA256) {
		return nil, api.Errorf(api.Internal, "stage", "the chunks of command %s do not give what was sent", tx.ID)
	}
	return body, nil
}

// dropChunks forgets the chunks of the command in hand, whatever became of it: a
// client that is refused, or heard, again and again must not fill the tables.
func (tx *Txn) dropChunks() {
	if tx.Type != commitStaged {
		return
	}
	gap, missing := chunksAhead, 0 // in a row: those that were on their way at once may have come in any order
	if tx.Level() < LevelAllotted {
		gap = 1
	}
	for k := 0; k < maxChunks && missing < gap; k++ {
		id := chunkID(tx.ID, k)
		if _, there := staged.one(tx.Reader, id); !there {
			missing++
			continue
		}
		staged.remove(tx, id)
		missing = 0
	}
}

// oldChunks are up to limit chunks that nobody committed in time.
func oldChunks(r Reader, now time.Time, limit int) (ids []string) {
	for c := range staged.rowsAfter(r.state, "") {
		if len(ids) < limit && now.Sub(c.At) > chunkLife {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// stage carries a body through the log in chunks and gives the command that commits it.
func (w *Writer) stage(ctx context.Context, m Meta, body []byte) ([]byte, error) {
	chunks := (len(body) + chunkSize - 1) / chunkSize
	if chunks > maxChunks {
		return nil, api.Errorf(api.TooLarge, "propose", "the change has %d MB, at most %d MB can be stored at once", len(body)>>20, maxChunks*chunkSize>>20)
	}
	g, staging := errgroup.WithContext(ctx)
	g.SetLimit(chunksAhead)
	for k := range chunks {
		g.Go(func() error {
			piece := body[k*chunkSize : min((k+1)*chunkSize, len(body))]
			command, err := encode(Meta{Type: stageChunk, V: 1, ID: uuid.NewString(), Request: m.Request, Actor: m.Actor}, chunkStage{m.ID, k, piece})
			if err != nil {
				return err
			}
			_, err = proposed[struct{}](w.proposer.Propose(staging, command))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		w.abandon(ctx, m)
		return nil, err
	}
	sum := sha256.Sum256(body)
	commit := m
	commit.Type, commit.V = commitStaged, 1
	return encode(commit, stagedCommit{m.Type, m.V, chunks, sum[:]})
}

// abandonTime bounds how long it is tried to take back what was staged.
const abandonTime = 5 * time.Second

// abandon takes back the chunks of a command that will not be committed, where the log can
// be reached: a commit of nothing, which is refused and drops them. Those that it misses
// are swept. Whoever asked may have left.
func (w *Writer) abandon(ctx context.Context, m Meta) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTime)
	defer cancel()
	refused := m
	refused.Type, refused.V, refused.Once = commitStaged, 1, nil // a client that comes again with its key is not refused
	if command, err := encode(refused, stagedCommit{Type: m.Type, V: m.V}); err == nil {
		_, _ = w.proposer.Propose(ctx, command)
	}
}
