// Package oldclient is a client of the inventory that behaves as
// node-orchestrator's own command line does, fault for fault, and knows nothing
// of orchd: it checks objects against schema files first, posts them one by one,
// each over a TCP connection of its own, without a timeout, a retry, a redirect or
// an Idempotency-Key; it takes 200, 201, 204 and 400 for answers, any other 4xx
// and 5xx for failures, and breaks on anything else.
//
// The files in data are the samples that come with node-orchestrator
// (https://github.com/OpenCHAMI/node-orchestrator, MIT licence).
package oldclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The sample files.
const (
	Nodes       = "computenode.json"        // 11 nodes with a BMC each
	FakeNodes   = "fake_compute_nodes.json" // 512 nodes
	Collections = "nodecollection.json"     // one partition
)

//go:embed data/*.json
var data embed.FS

// Sample is the objects of a sample file, each as it stands there.
func Sample(file string) []json.RawMessage {
	text, err := data.ReadFile("data/" + file)
	if err != nil {
		panic(err)
	}
	var objects []json.RawMessage
	if err := json.Unmarshal(text, &objects); err != nil {
		panic(err)
	}
	return objects
}

// Client is one run of the client.
type Client struct {
	URL       string
	Token     string
	CA        []byte // PEM
	SchemaDir string // empty: nothing is checked first
	// Dial reaches the peer from elsewhere than this process's own network; nil: from here.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	schemas map[string]*jsonschema.Schema
}

// Outcome is what became of one object.
type Outcome struct {
	Status int // 0: there was no answer
	Body   []byte
	Err    error // why the client calls it an error; nil for 200, 201, 204, 400
}

// Stored tells whether the client holds the object for stored.
func (o Outcome) Stored() bool { return o.Err == nil && o.Status != http.StatusBadRequest }

// Create posts one object of a kind.
func (c *Client) Create(kind string, object json.RawMessage) Outcome {
	if err := c.validate(kind, object); err != nil {
		return Outcome{Err: err}
	}
	return c.Call(http.MethodPost, "/"+kind, object)
}

// Call sends one request.
func (c *Client) Call(method, path string, body []byte) Outcome {
	client, err := c.connection()
	if err != nil {
		return Outcome{Err: err}
	}
	defer client.CloseIdleConnections()
	r, err := http.NewRequest(method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return Outcome{Err: err}
	}
	r.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := client.Do(r)
	if err != nil {
		return Outcome{Err: err}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	o := Outcome{Status: response.StatusCode, Body: text, Err: err}
	switch o.Status {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent, http.StatusBadRequest:
	default:
		if o.Err = fmt.Errorf("answer %d", o.Status); o.Status < 400 {
			o.Err = fmt.Errorf("answer %d breaks the client", o.Status)
		}
	}
	return o
}

// connection is a client that keeps no connection and follows nothing.
func (c *Client) connection() (*http.Client, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.CA) && c.CA != nil {
		return nil, fmt.Errorf("the CA is no PEM")
	}
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: c.Dial, TLSClientConfig: &tls.Config{RootCAs: roots}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// validate checks an object against the file of its kind.
func (c *Client) validate(kind string, object json.RawMessage) error {
	if c.SchemaDir == "" {
		return nil
	}
	if c.schemas[kind] == nil {
		text, err := os.ReadFile(filepath.Join(c.SchemaDir, kind+".json"))
		if err != nil {
			return err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return err
		}
		compiler := jsonschema.NewCompiler()
		if err := compiler.AddResource(kind, doc); err != nil {
			return err
		}
		schema, err := compiler.Compile(kind)
		if err != nil {
			return err
		}
		if c.schemas == nil {
			c.schemas = map[string]*jsonschema.Schema{}
		}
		c.schemas[kind] = schema
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(object))
	if err != nil {
		return err
	}
	return c.schemas[kind].Validate(value)
}
