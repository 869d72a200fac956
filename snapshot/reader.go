package snapshot

import (
	"io"

	"github.com/hashicorp/raft"
)

// reader is an open snapshot: a stream for another peer, or, through FolderOf,
// the folder itself.
type reader struct {
	io.ReadCloser
	folder  *Folder
	release func()
}

func (r *reader) Close() error {
	r.release()
	return r.ReadCloser.Close()
}

// FolderOf gives the folder behind r, which raft hands to FSM.Restore. If r is
// (raft's wrapper around) a reader of Store.Open, that is the folder in the
// store, verified when it was opened; any other stream is unpacked into a
// temporary folder. The folder is there until done is called or r is closed.
func FolderOf(r io.ReadCloser) (f *Folder, done func(), err error) {
	inner := r
	for {
		switch in := inner.(type) {
		case *reader:
			return in.folder, func() {}, nil
		case raft.ReadCloserWrapper:
			inner = in.WrappedReadCloser()
		default:
			return unpackTemporary(r)
		}
	}
}
