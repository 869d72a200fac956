package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

const (
	maxContent  = 1 << 40     // bytes of an image's content
	pieceTime   = time.Minute // for a client to send the next piece of it
	typeContent = "application/octet-stream"
)

func describeImageContent(_ huma.API, op *huma.Operation) {
	op.Parameters = []*huma.Param{pathParameter("name", "Name or id of the image"),
		{Name: "Range", In: "header", Description: "A part of it, to go on with a download", Schema: &huma.Schema{Type: huma.TypeString}},
		{Name: "If-Range", In: "header", Description: "ETag of the content that was begun", Schema: &huma.Schema{Type: huma.TypeString}}}
	describeFile(op, typeContent)
}

// imageContent answers with the content of an image, whole or in part, from wherever it lies.
func (s *Server) imageContent(w http.ResponseWriter, r *http.Request) error {
	image, err := s.imageInPath(r)
	switch {
	case err != nil:
		return err
	case !image.Kept():
		return api.Errorf(api.Conflict, "image.download", "the image names files that lie on the peers; orchd does not have their content")
	case image.State != api.ImageAvailable:
		return api.Errorf(api.Conflict, "image.download", "the image is %s: it has no content to give", image.State)
	}
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range") // many small parts would be many openings; a server may answer with the whole
	}
	if sum, err := hex.DecodeString(image.SHA256); err == nil {
		w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	}
	content := &imageReader{size: image.Bytes, open: func(at int64) (io.ReadCloser, error) { return s.backend.OpenImage(r.Context(), image, at) }}
	doc := Document{ReadSeekCloser: content, ETag: image.SHA256, Name: image.Name + "." + image.Format}
	return s.sendFile(w, r, doc, typeContent, nil)
}

// imageInPath finds the image of a plain route with the eyes of the caller.
func (s *Server) imageInPath(r *http.Request) (api.Image, error) {
	v, err := s.backend.View(r.Context(), api.Linearizable)
	if err != nil {
		return api.Image{}, err
	}
	return ImageRef{Name: r.PathValue("name")}.finder(r.Context())(v)
}

// imageReader reads content that can be opened at any offset. It is opened where it is
// first read, and anew when somebody has sought elsewhere.
type imageReader struct {
	size int64
	open func(at int64) (io.ReadCloser, error)

	at   int64 // where the next byte is read
	body io.ReadCloser
}

// begin opens the content, so that a failure can still be told.
func (f *imageReader) begin() (err error) {
	if f.body == nil {
		f.body, err = f.open(f.at)
	}
	return err
}

// Read reads on.
func (f *imageReader) Read(b []byte) (int, error) {
	if f.at >= f.size {
		return 0, io.EOF
	}
	if err := f.begin(); err != nil {
		return 0, err
	}
	n, err := f.body.Read(b[:min(int64(len(b)), f.size-f.at)])
	f.at += int64(n)
	if errors.Is(err, io.EOF) && f.at < f.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Seek says where to read next.
func (f *imageReader) Seek(offset int64, whence int) (int64, error) {
	to := offset
	switch whence {
	case io.SeekCurrent:
		to += f.at
	case io.SeekEnd:
		to += f.size
	}
	if to < 0 {
		return f.at, errors.New("seek before the beginning of an image")
	}
	if to != f.at {
		f.Close()
		f.at = to
	}
	return to, nil
}

// Close lets go of what is open.
func (f *imageReader) Close() error {
	if f.body == nil {
		return nil
	}
	err := f.body.Close()
	f.body = nil
	return err
}

func describeImageUpload(h huma.API, op *huma.Operation) {
	text := &huma.Schema{Type: huma.TypeString}
	op.Description = "Sends the content of an image of source upload, once: with Content-Length or chunked, of at most 1 TiB. It is not held in memory. " +
		"With Expect: 100-continue a request that cannot succeed is refused before anything is sent. When the body breaks off, or has another digest, the image goes on waiting."
	op.Parameters = []*huma.Param{pathParameter("name", "Name or id of the image"),
		{Name: "Repr-Digest", In: "header", Description: "sha-256=:BASE64: that the content must have (RFC 9530); Digest: sha-256=BASE64 will do", Schema: text}}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{typeContent: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}
	op.Responses["200"] = &huma.Response{Description: "The image, available",
		Headers: map[string]*huma.Param{"ETag": {Description: "Version of the object", Schema: text}, "Orchd-Index": {Description: "Log index of the state that this shows", Schema: &huma.Schema{Type: huma.TypeInteger, Format: "int64"}}},
		Content: map[string]*huma.MediaType{"application/json": {Schema: schemaOf[api.Image](h)}}}
}

// putImageContent takes the content of an image that waits for it.
func (s *Server) putImageContent(w http.ResponseWriter, r *http.Request) error {
	want, err := digestIn(r.Header)
	if err != nil {
		return err
	}
	image, err := s.awaiting(r)
	if err != nil {
		return err
	}
	leave, err := s.uploads.enter(actorOf(r.Context()).ID)
	if err != nil {
		return err
	}
	defer leave()
	body := &contentReader{body: http.MaxBytesReader(w, r.Body, maxContent), deadline: http.NewResponseController(w), sum: sha256.New(), want: want}
	done, err := s.backend.PutImage(r.Context(), image, body)
	if body.err != nil {
		return body.err
	}
	if err != nil {
		return err
	}
	body.rest()
	head := headOf(done)
	head.ETag = etagAfter(done, done.Object.Version)
	head.addTo(w.Header())
	return writeJSON(w, http.StatusOK, done.Object)
}

// awaiting finds the image that a request brings content for.
func (s *Server) awaiting(r *http.Request) (api.Image, error) {
	if r.ContentLength > maxContent {
		return api.Image{}, errContent
	}
	image, err := s.imageInPath(r)
	if err == nil {
		err = permit(actorOf(r.Context()), api.Update, api.Object{Kind: "image", Account: image.Account})
	}
	switch {
	case err != nil:
	case image.Source != api.SourceUpload:
		err = api.Errorf(api.Conflict, "image.upload", "the content of this image does not come by an upload; make one with source upload")
	case image.State == api.ImageAvailable:
		err = api.Errorf(api.Conflict, "image.upload", "the image has its content, which never changes; make another image")
	case image.State != api.ImagePending:
		err = api.Errorf(api.Conflict, "image.upload", "the image is %s and takes no content any more; delete it and make it again", image.State)
	}
	return image, err
}

var errContent = &api.Error{Kind: api.TooLarge, Op: "image.upload", Msg: "the content is larger than 1 TiB"}

// digestIn is the SHA-256 that a request says its body has; nil when it does not say.
func digestIn(h http.Header) ([]byte, error) {
	for _, name := range []string{"Repr-Digest", "Content-Digest", "Digest"} {
		for item := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
			algorithm, value, _ := strings.Cut(strings.TrimSpace(item), "=")
			if !strings.EqualFold(algorithm, "sha-256") {
				continue
			}
			if name != "Digest" {
				value = strings.TrimSuffix(strings.TrimPrefix(value, ":"), ":")
			}
			sum, err := base64.StdEncoding.DecodeString(value)
			if err != nil || len(sum) != sha256.Size {
				return nil, badParameter("/header/"+name, "expected sha-256 and 32 bytes in base64")
			}
			return sum, nil
		}
	}
	return nil, nil
}

// contentReader is a body on its way in. Each piece has pieceTime to come. A body that
// has another digest than announced has no good end: who reads it sees an error.
type contentReader struct {
	body     io.Reader
	deadline *http.ResponseController
	sum      hash.Hash
	want     []byte // nil: not announced
	got      int64
	err      error // why the body is not good
}

// Read takes the next piece.
func (c *contentReader) Read(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	_ = c.deadline.SetReadDeadline(time.Now().Add(pieceTime)) // not supported in memory: nothing is slow there
	n, err := c.body.Read(b)
	c.sum.Write(b[:n])
	c.got += int64(n)
	if err == nil {
		return n, nil
	}
	_ = c.deadline.SetReadDeadline(time.Time{})
	if c.err = c.judge(err); c.err != nil {
		return n, c.err
	}
	return n, io.EOF
}

// judge is what is wrong with a body that ended with err.
func (c *contentReader) judge(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return errContent
	case !errors.Is(err, io.EOF):
		return &api.Error{Kind: api.Malformed, Op: "image.upload", Msg: fmt.Sprintf("the body broke off after %d bytes, or nothing came for a minute; the image goes on waiting", c.got), Err: err}
	case c.want != nil && !bytes.Equal(c.sum.Sum(nil), c.want):
		return &api.Error{Kind: api.Malformed, Op: "image.upload", Msg: "the body has another SHA-256 than its digest header says; the image goes on waiting",
			Fields: []api.FieldError{{Pointer: "/header/Repr-Digest", Detail: "the body has another one"}}}
	}
	return nil
}

// rest ends the time for a piece, should the backend not have read to the end.
func (c *contentReader) rest() { _ = c.deadline.SetReadDeadline(time.Time{}) }
