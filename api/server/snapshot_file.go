package server

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// The media types of files (for parquet as registered with IANA).
const (
	typeParquet = "application/vnd.apache.parquet"
	typeTar     = "application/x-tar"
)

const (
	archiveFile   = "all.tar"
	parquetSuffix = ".parquet"
)

// tableName is what a table may be called: such a name is harmless wherever it goes.
var tableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

func describeSnapshotFile(_ huma.API, op *huma.Operation) {
	op.Parameters = []*huma.Param{
		pathParameter("id", "Id of the snapshot; now: the state of this moment, see Content-Location; at-INDEX"),
		pathParameter("file", "TABLE.parquet, or all.tar for all tables"),
	}
	describeFile(op, typeParquet, typeTar)
}

// describeFile documents what routes of files have in common.
func describeFile(op *huma.Operation, types ...string) {
	content := map[string]*huma.MediaType{}
	for _, t := range types {
		content[t] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
	op.Responses["200"] = &huma.Response{Description: "The file", Content: content, Headers: map[string]*huma.Param{
		"ETag":             {Description: "Strong: the same on whichever peer the bytes are the same", Schema: &huma.Schema{Type: huma.TypeString}},
		"Content-Location": {Description: "Where this very file stands, when the path means another one each time", Schema: &huma.Schema{Type: huma.TypeString}},
	}}
	op.Responses["206"] = &huma.Response{Description: "What Range asks for, if it is still the file that If-Range names", Content: content}
	op.Responses["304"] = &huma.Response{Description: "It is still the file that If-None-Match names"}
}

// snapshotFile answers with a file of a snapshot.
func (s *Server) snapshotFile(w http.ResponseWriter, r *http.Request) error {
	id, file := r.PathValue("id"), r.PathValue("file")
	if !isState(id) {
		return s.unknownSnapshot(r.Context())
	}
	table, parquet := strings.CutSuffix(file, parquetSuffix)
	if file != archiveFile && !(parquet && tableName.MatchString(table)) {
		return &api.Error{Kind: api.NotFound, Op: "snapshot.download",
			Msg: "a snapshot has no such file; it has all.tar, and TABLE.parquet for each of its tables, as vms.parquet"}
	}
	leave, err := s.downloads.enter(actorOf(r.Context()).ID)
	if err != nil {
		return err
	}
	defer leave()
	if id, err = s.settled(r.Context(), id); err != nil {
		return err
	}
	if id != r.PathValue("id") {
		w.Header().Set("Content-Location", "/v1/snapshots/"+id+"/"+file)
	}
	if file == archiveFile {
		doc, err := s.backend.SnapshotArchive(r.Context(), id)
		return s.sendFile(w, r, doc, typeTar, s.orUnknown(r.Context(), id, err))
	}
	doc, err := s.backend.SnapshotTable(r.Context(), id, table)
	return s.sendFile(w, r, doc, typeParquet, s.orUnknown(r.Context(), id, err))
}

// settled is the id under which a state can be read again: that of now is another
// one each time.
func (s *Server) settled(ctx context.Context, id string) (string, error) {
	if id != stateNow {
		return id, nil
	}
	snapshot, err := s.backend.Snapshot(ctx, id)
	return snapshot.ID, err
}

// errRange is a range beyond the end of a file.
var errRange = &httpError{http.StatusRequestedRangeNotSatisfiable, "range-not-satisfiable", "the file has no such bytes; Content-Range says how many it has"}

// sendFile answers with a file, whole or in ranges; or gives err, why there is none.
func (s *Server) sendFile(w http.ResponseWriter, r *http.Request, doc Document, mediaType string, err error) error {
	if err != nil {
		return err
	}
	defer doc.Close()
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("ETag", strconv.Quote(doc.ETag))
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": doc.Name}))
	out := fileWriter{ResponseWriter: w, deadline: http.NewResponseController(w)}
	in := fileReader{ReadSeeker: doc}
	if late, ok := doc.ReadSeekCloser.(interface{ begin() error }); ok && r.Method != http.MethodHead {
		out.begin = late.begin
	}
	http.ServeContent(&out, r, "", doc.Modified, &in)
	if out.refused == 0 {
		if err := errors.Join(in.err, out.err); err != nil {
			exchangeOf(r.Context()).err = err // nobody is there to be told
		}
		return nil
	}
	for _, name := range []string{"Content-Disposition", "Content-Length", "ETag", "Last-Modified", "Content-Location", "Accept-Ranges", "Repr-Digest"} {
		h.Del(name)
	}
	if out.notBegun != nil {
		h.Del("Content-Range")
		return out.notBegun
	}
	return refusal(out.refused, in.err)
}

// refusal is our own problem for a status that net/http would answer in plain text.
func refusal(status int, cause error) error {
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		return errRange
	case http.StatusPreconditionFailed:
		return &api.Error{Kind: api.Precondition, Op: "file.download", Msg: "it is another file by now than the one that If-Match or If-Unmodified-Since names"}
	}
	return errors.Join(errors.New("send a file: "+http.StatusText(status)), cause)
}

// fileWriter sends a file. Each piece has sendTimeout of its own to be taken, so that
// a large file may take hours over a slow line and a client that no longer reads
// holds the file for a minute. What is no file is held back: it becomes a problem.
type fileWriter struct {
	http.ResponseWriter
	deadline *http.ResponseController
	begin    func() error // opens what could not be opened before; nil: nothing is to be
	notBegun error        // what that ended with
	refused  int          // status of what was held back
	err      error
}

// WriteHeader begins the answer, unless it is a refusal.
func (f *fileWriter) WriteHeader(status int) {
	if f.begin != nil && (status == http.StatusOK || status == http.StatusPartialContent) {
		if f.notBegun = f.begin(); f.notBegun != nil {
			status = http.StatusInternalServerError
		}
	}
	if status >= http.StatusBadRequest {
		f.refused = status
		return
	}
	f.ResponseWriter.WriteHeader(status)
}

// Write sends one piece.
func (f *fileWriter) Write(b []byte) (int, error) {
	if f.refused != 0 {
		return len(b), nil
	}
	_ = f.deadline.SetWriteDeadline(time.Now().Add(sendTimeout)) // not supported in memory: nothing is slow there
	n, err := f.ResponseWriter.Write(b)
	f.err = errors.Join(f.err, err)
	return n, err
}

// fileReader notes why a file could not be read to its end.
type fileReader struct {
	io.ReadSeeker
	err error
}

// Read reads one piece.
func (f *fileReader) Read(b []byte) (int, error) {
	n, err := f.ReadSeeker.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = errors.Join(errors.New("read a file to send"), err)
	}
	return n, err
}
