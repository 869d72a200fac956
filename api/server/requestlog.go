package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// sendTimeout is how long a client may take to read an answer.
const sendTimeout = time.Minute

// exchange is what is learned about a request on its way through, for the one
// line that the log gets.
type exchange struct {
	id     string // request id
	remote string
	actor  string
	err    error
}

type exchangeKey struct{}

// exchangeOf is the exchange of a request; an empty one outside of any.
func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestID is the caller's own id when it is harmless in a log, else a new one.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); requestIDForm.MatchString(id) {
		return id
	}
	return rand.Text()
}

// logged writes one line for each request, counts it, and turns a panic of a handler into a 500.
func (s *Server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		x := &exchange{id: requestID(r), remote: r.RemoteAddr}
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		rec := &recorder{ResponseWriter: w}
		rec.Header().Set("X-Request-Id", x.id)
		rec.Header().Set("Orchd-Peer", s.backend.PeerName())
		defer func() { s.finish(x, rec, r, time.Since(begun)) }()
		defer s.recovered(rec, r)
		next.ServeHTTP(rec, r)
	})
}

// recovered ends a panic of a handler: it costs its caller a 500, or the
// connection when part of the answer is out, and nobody else anything.
func (s *Server) recovered(rec *recorder, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	err := fmt.Errorf("panic: %v", cause)
	s.log.Error("api handler panicked", "request", exchangeOf(r.Context()).id, "err", err, "stack", string(debug.Stack()))
	if rec.status != 0 {
		panic(http.ErrAbortHandler)
	}
	writeProblem(rec, r, err)
}

// finish logs and counts an answered request.
func (s *Server) finish(x *exchange, rec *recorder, r *http.Request, took time.Duration) {
	route := routeOf(r.Pattern)
	s.metrics.count(route, r.Method, rec.status, took)
	attrs := []slog.Attr{
		slog.String("request", x.id), slog.String("method", r.Method), slog.String("route", route),
		slog.Int("status", rec.status), slog.Int64("bytes", rec.bytes), slog.Duration("took", took),
		slog.String("actor", x.actor), slog.String("remote", x.remote),
	}
	level := slog.LevelInfo
	if slices.Contains(probes, route) {
		level = slog.LevelDebug
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("err", x.err.Error()))
	}
	if rec.status == http.StatusInternalServerError {
		level = slog.LevelError
	}
	s.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// probes are asked again and again by machines: worth no line in an ordinary log.
var probes = []string{"/healthz", "/readyz", "/metrics"}

// routeOf is the path of a mux pattern, which has few values where paths have many.
func routeOf(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		return path
	}
	return "none"
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the status and gives the client a time to read the rest.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		// A writer without deadlines, as in tests, has no slow readers either.
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(sendTimeout))
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts what is sent.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// metrics are the Prometheus series on the API itself.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "orchd_http_requests_total", Help: "API requests answered."}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "orchd_http_request_seconds", Help: "Time from a request's header to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}, []string{"route", "method"}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.seconds)
	}
	return m
}

// count notes one request. Methods that nobody knows are one series together,
// so that a client cannot make up new ones.
func (m *metrics) count(route, method string, status int, took time.Duration) {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route, method).Observe(took.Seconds())
}
