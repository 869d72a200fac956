package snapshot

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// Sink is a snapshot being written. It takes either a Content, by Fill, or the
// stream of another peer's folder, by Write, not both. Every Sink ends with Close
// or Cancel.
type Sink struct {
	store *Store
	draft *draft
	meta  raftMeta

	filled bool
	stream *io.PipeWriter // to the goroutine that unpacks, once Write was called
	result chan error     // what came of unpacking, once
	ended  bool
	err    error // what Close said
}

var _ raft.SnapshotSink = (*Sink)(nil)

var errNotOne = errors.New("a snapshot takes one state or one stream")

// ID names the snapshot once it is closed.
func (s *Sink) ID() string { return s.meta.ID }

// Fill writes the state. The machine's Persist calls it.
func (s *Sink) Fill(c Content) error {
	if s.ended || s.filled || s.stream != nil {
		return errNotOne
	}
	s.filled = true
	if err := s.draft.fill(c); err != nil {
		return fmt.Errorf("write snapshot %s: %w", s.meta.ID, err)
	}
	return nil
}

// Write takes the next bytes of a stream that Store.Open gave on another peer,
// and unpacks them as they come.
func (s *Sink) Write(p []byte) (int, error) {
	if s.ended || s.filled {
		return 0, errNotOne
	}
	if s.stream == nil {
		s.begin()
	}
	return s.stream.Write(p)
}

// begin starts the goroutine that unpacks; finish waits for it.
func (s *Sink) begin() {
	r, w := io.Pipe()
	s.stream, s.result = w, make(chan error, 1)
	go func() {
		err := s.draft.unpack(r)
		if err != nil {
			err = fmt.Errorf("unpack snapshot %s: %w", s.meta.ID, err)
		}
		r.CloseWithError(err) // a Write that still waits gets the reason
		s.result <- err
	}()
}

// finish ends the stream, with a reason if it is cut short.
func (s *Sink) finish(reason error) error {
	if s.stream == nil {
		return nil
	}
	s.stream.CloseWithError(reason)
	return <-s.result
}

// Close puts the snapshot in its place. It succeeds only when every byte is on
// stable storage and was read again; then older snapshots are removed. When it
// fails nothing of the snapshot is left.
func (s *Sink) Close() error {
	if s.ended {
		return s.err
	}
	s.ended = true
	s.err = s.finish(nil)
	if s.err == nil {
		s.err = s.commit()
	}
	if s.err != nil {
		s.err = errors.Join(s.err, s.draft.discard())
	}
	s.store.release(s.draft)
	if s.err == nil {
		if err := s.store.reap(); err != nil {
			s.store.log.Warn("older snapshots stay", "dir", s.store.dir, "err", err)
		}
	}
	return s.err
}

// commit writes raft.json and gives the folder its name.
func (s *Sink) commit() error {
	if !s.filled && s.stream == nil {
		return fmt.Errorf("snapshot %s: nothing was written", s.meta.ID)
	}
	s.meta.Manifest = s.draft.manifest.Sum
	if s.meta.Manifest == "" {
		return fmt.Errorf("snapshot %s: its state was not written whole", s.meta.ID)
	}
	data, err := encodeSealed(&s.meta)
	if err != nil {
		return err
	}
	if err := s.draft.small(raftName, data); err != nil {
		return err
	}
	_, err = s.draft.commit(s.meta.ID, raftName)
	return err
}

// Cancel removes what was written. After Close it does nothing.
func (s *Sink) Cancel() error {
	if s.ended {
		return nil
	}
	s.ended, s.err = true, errors.New("the snapshot was cancelled")
	_ = s.finish(s.err) // its error is the one given
	err := s.draft.discard()
	s.store.release(s.draft)
	return err
}
