package host

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/orchd/orchd/api"
)

// Limits of HTTP.
const (
	maxBody      = 1 << 20 // bytes, each way
	maxRedirects = 5
)

// Allows tells whether an address is on one of the hosts that are allowed: HOST on the
// port of its scheme, HOST:PORT on that port.
func Allows(allowed []string, u *url.URL) bool {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	return host != "" && slices.ContainsFunc(allowed, func(grant string) bool {
		name, wanted, err := net.SplitHostPort(grant)
		if err != nil {
			name, wanted = strings.Trim(grant, "[]"), port
			if port != "80" && port != "443" {
				return false
			}
		}
		return strings.ToLower(name) == host && wanted == port
	})
}

func httpGet(w *world, ctx context.Context, a arguments) (any, error) {
	return w.exchange(ctx, a, http.MethodGet)
}

func httpPost(w *world, ctx context.Context, a arguments) (any, error) {
	return w.exchange(ctx, a, http.MethodPost)
}

func httpRequest(w *world, ctx context.Context, a arguments) (any, error) {
	var method string
	if err := a.into("method", &method); err != nil {
		return nil, err
	}
	return w.exchange(ctx, a, strings.ToUpper(method))
}

// question is a request as scripts put it.
type question struct {
	method  string
	url     *url.URL
	body    string
	headers map[string]string
}

func (w *world) question(a arguments, method string) (q question, err error) {
	var address, body64 string
	q.method = method
	if err = a.all("url", &address, "body", &q.body, "body_base64", &body64, "headers", &q.headers); err != nil {
		return q, err
	}
	if body64 != "" {
		raw, err := base64.StdEncoding.DecodeString(body64)
		if err != nil {
			return q, a.wrong("argument body_base64: %v", err)
		}
		q.body = string(raw)
	}
	if len(q.body) > maxBody {
		return q, api.Errorf(api.TooLarge, a.function, "the body has %d bytes: at most %d", len(q.body), maxBody)
	}
	if q.url, err = url.Parse(address); err != nil {
		return q, a.wrong("argument url: %v", err)
	}
	return q, w.mayAsk(a, q.url)
}

// mayAsk tells why an address may not be asked.
func (w *world) mayAsk(a arguments, u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return a.wrong("argument url is to be http://HOST/... or https://HOST/..., not %q", u.Redacted())
	}
	if !Allows(w.owner.grants.HTTP, u) {
		return w.notGranted(a.function+" of "+u.Host, `http = ["`+u.Host+`"]`)
	}
	return nil
}

// exchange asks, follows redirects to where the script might have gone itself, and
// gives the answer. The call's own deadline is the limit of its time.
func (w *world) exchange(ctx context.Context, a arguments, method string) (any, error) {
	q, err := w.question(a, method)
	if err != nil {
		return nil, err
	}
	if w.hosts.cfg.HTTP == nil {
		return nil, api.Errorf(api.Unavailable, a.function, "this peer speaks no HTTP for packages")
	}
	for range maxRedirects + 1 {
		answer, err := w.ask(ctx, a, q)
		if err != nil {
			return nil, err
		}
		next, redirected := redirect(q, answer)
		if !redirected {
			return told(a, answer)
		}
		answer.Body.Close()
		if err := w.mayAsk(a, next.url); err != nil {
			return nil, err
		}
		q = next
	}
	return nil, api.Errorf(api.Unavailable, a.function, "%s leads on through more than %d redirects", q.url.Redacted(), maxRedirects)
}

func (w *world) ask(ctx context.Context, a arguments, q question) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, q.method, q.url.String(), strings.NewReader(q.body))
	if err != nil {
		return nil, a.wrong("%v", err)
	}
	for name, value := range q.headers {
		r.Header.Set(name, value)
	}
	answer, err := w.hosts.cfg.HTTP(ctx, w.owner.grants.HTTP, r)
	if err != nil {
		return nil, api.Errorf(api.Unavailable, a.function, "%s: %w", q.url.Redacted(), err)
	}
	if answer.Request != nil && !Allows(w.owner.grants.HTTP, answer.Request.URL) {
		answer.Body.Close() // it was led on below us, where nobody asks the grants
		return nil, w.notGranted(a.function+" of "+answer.Request.URL.Host, `http = ["`+answer.Request.URL.Host+`"]`)
	}
	return answer, nil
}

// redirect is where an answer sends the question on. Credentials stay with the host
// that they were meant for.
func redirect(q question, answer *http.Response) (question, bool) {
	switch answer.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if q.method != http.MethodHead {
			q.method, q.body = http.MethodGet, ""
		}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return q, false
	}
	to, err := q.url.Parse(answer.Header.Get("Location"))
	if err != nil || answer.Header.Get("Location") == "" {
		return q, false
	}
	if to.Host != q.url.Host || to.Scheme != q.url.Scheme {
		kept := map[string]string{}
		for name, value := range q.headers {
			if name := http.CanonicalHeaderKey(name); name != "Authorization" && name != "Cookie" {
				kept[name] = value
			}
		}
		q.headers = kept
	}
	q.url = to
	return q, true
}

// told is an answer as scripts get it.
func told(a arguments, answer *http.Response) (any, error) {
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	if err != nil {
		return nil, api.Errorf(api.Unavailable, a.function, "the answer broke off: %w", err)
	}
	if len(body) > maxBody {
		return nil, api.Errorf(api.TooLarge, a.function, "the answer has more than %d bytes", maxBody)
	}
	headers := map[string]string{}
	for name, values := range answer.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	result := map[string]any{"status": answer.StatusCode, "headers": headers, "body": ""}
	if utf8.Valid(body) {
		result["body"] = string(body)
	} else {
		result["body_base64"] = base64.StdEncoding.EncodeToString(body)
	}
	return result, nil
}
