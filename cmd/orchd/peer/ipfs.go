package peer

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/orchd/orchd/api"
)

// fromIPFS is the client that fetches ipfs://CID: the package aqua-ipfs of this peer
// says where its IPFS node has the content, and it comes from there as it is, not
// through a script.
func (i *images) fromIPFS() *http.Client { return &http.Client{Transport: ipfsTransport{i.Peer}} }

type ipfsTransport struct{ *Peer }

// RoundTrip fetches one piece of content.
func (t ipfsTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	service, ok := t.machine.Read().ServiceAt(t.identity.PeerID, "aqua-ipfs")
	if !ok {
		return nil, api.Errorf(api.Invalid, "image.fetch", "this peer does not run the package aqua-ipfs, which fetches ipfs:// images: enable it under [system_services], or ask another peer")
	}
	source, err := t.locate(ctx, service, r.URL.Host)
	if err != nil {
		return nil, err
	}
	content, err := http.NewRequestWithContext(ctx, source.Method, source.URL, nil)
	if err != nil {
		return nil, err
	}
	if from, has := strings.CutPrefix(r.Header.Get("Range"), "bytes="); has {
		query := content.URL.Query()
		query.Set("offset", strings.TrimSuffix(from, "-"))
		content.URL.RawQuery = query.Encode()
	}
	answer, err := system(t).ask(ctx, service.Grants.HTTP, content)
	if err == nil && answer.StatusCode == http.StatusOK && r.Header.Get("Range") != "" {
		return t.partial(r, answer)
	}
	return answer, err
}

// partial says of an answer that begins at the offset that was asked for that it does.
func (t ipfsTransport) partial(r *http.Request, answer *http.Response) (*http.Response, error) {
	offset, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"), 10, 64)
	if err != nil {
		answer.Body.Close()
		return nil, err
	}
	answer.StatusCode = http.StatusPartialContent
	answer.Header.Set("Content-Range", "bytes "+strconv.FormatInt(offset, 10)+"-0/*")
	return answer, nil
}

// located is where aqua-ipfs says that content is.
type located struct {
	URL    string `json:"url"`
	Method string `json:"method"`
}

func (t ipfsTransport) locate(ctx context.Context, service api.Service, cid string) (at located, err error) {
	args, err := json.Marshal(map[string]string{"cid": cid})
	if err != nil {
		return at, err
	}
	result, err := t.services.Call(t.asPeer(ctx), service, "image_url", args)
	if err != nil {
		return at, err
	}
	if err := json.Unmarshal(result, &at); err != nil || at.URL == "" {
		return at, api.Errorf(api.Internal, "image.fetch", "aqua-ipfs does not say where %s is", cid)
	}
	return at, nil
}
