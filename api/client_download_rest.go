package api

import (
	"context"
	"io"
	"net/url"
	"strings"
)

// Begun is how far a file is that was begun earlier, and by what it is known again.
type Begun struct {
	Done, Total int64
	ETag        string // a strong one, with its quotes
}

// DownloadRest is Download for a file whose first b.Done bytes are there already,
// from an earlier download that broke off. Conflict when no peer has that very file.
func (c *Client) DownloadRest(ctx context.Context, path string, to io.WriterAt, b Begun, progress func(done, total int64)) error {
	if u, err := url.Parse(path); err != nil || u.Host != "" || !strings.HasPrefix(path, "/") {
		return Errorf(Invalid, "client", "%q is no path", path)
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	if b.Done == 0 {
		return c.Download(ctx, path, to, progress)
	}
	d := download{client: c, path: path, to: to, progress: progress, etag: b.ETag, done: b.Done, total: b.Total}
	return d.run(ctx)
}
