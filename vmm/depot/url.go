package depot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/orchd/orchd/api"
)

// FetchURL fetches the content of an image, at most max bytes (0: as many as there
// is room for), from a URL with a client that goes only where it may (api/guard). All
// else is as in FetchFrom; servers that know ranges go on where they were cut off.
func (d *Depot) FetchURL(ctx context.Context, w Wanted, url string, client *http.Client, max int64, progress Progress) (api.ImageContent, error) {
	return d.fetch(ctx, w, max, func(ctx context.Context, offset int64) (stream, error) {
		return get(ctx, client, url, offset)
	}, progress)
}

// get asks for a URL from an offset on.
func get(ctx context.Context, client *http.Client, url string, offset int64) (stream, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return stream{}, refuse("the URL cannot be read: %w", err)
	}
	r.Header.Set("Accept-Encoding", "identity") // a sum is of the bytes as they are
	r.Header.Set("User-Agent", "orchd")
	if offset > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	answer, err := client.Do(r)
	if err != nil {
		return stream{}, err
	}
	s, err := streamOf(answer, offset)
	if err != nil {
		answer.Body.Close()
	}
	return s, err
}

// streamOf makes of an answer the content from offset on.
func streamOf(answer *http.Response, offset int64) (stream, error) {
	switch code := answer.StatusCode; {
	case code == http.StatusPartialContent && offset > 0:
		return partial(answer, offset)
	case code == http.StatusRequestedRangeNotSatisfiable && offset > 0:
		answer.Body.Close()
		return stream{io.NopCloser(strings.NewReader("")), 0}, nil // all is here: the sum will tell
	case code == http.StatusOK:
		return skip(answer, offset)
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		return stream{}, broken("the server of the image answers %s", answer.Status)
	}
	return stream{}, refuse("the server of the image answers %s: check the URL", answer.Status)
}

// partial takes an answer that goes on at offset, if it says that it does.
func partial(answer *http.Response, offset int64) (stream, error) {
	var first, last, total int64
	said := answer.Header.Get("Content-Range")
	if n, _ := fmt.Sscanf(said, "bytes %d-%d/%d", &first, &last, &total); n < 2 || first != offset {
		return stream{}, refuse("the server of the image was asked to go on at byte %d and answers with range %q", offset, said)
	}
	return stream{answer.Body, max(total, 0)}, nil // it may leave the total open
}

// skip passes over what is there already: the server knows no ranges.
func skip(answer *http.Response, offset int64) (stream, error) {
	n, err := io.CopyN(io.Discard, answer.Body, offset)
	if errors.Is(err, io.EOF) {
		return stream{}, refuse("the server of the image has %d bytes, and %d came before: the image behind the URL was changed", n, offset)
	} else if err != nil {
		return stream{}, err
	}
	return stream{answer.Body, max(answer.ContentLength, 0)}, nil
}
