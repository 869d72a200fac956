package server

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// example is a good request for a route and what may come of it.
type example struct {
	path, body string
	status     int
	wrote      string   // what the backend was asked to do; empty: nothing
	roles      []string // whom the route lets in; nil: everyone, without a credential too
}

var (
	readers   = []string{"viewer", "controller", "operator", "admin"}
	operators = []string{"operator", "admin"}
	admins    = []string{"admin"}
)

// examples has one entry for each route and page: a new one fails the tests until it is here.
var examples = map[string]example{
	"GET /v1/vms":                    {"/v1/vms?limit=1&label=a=1&peer=h1&state=running", "", 200, "", readers},
	"POST /v1/vms":                   {"/v1/vms", `{"name":"new1","spec":{"vcpus":1,"memory_mib":64}}`, 201, "vm.create default/new1", operators},
	"GET /v1/vms/{id}":               {"/v1/vms/web1?account=default&consistency=local", "", 200, "", readers},
	"PUT /v1/vms/{id}":               {"/v1/vms/web1", `{"labels":{"b":"2"},"protected":true}`, 200, "vm.update " + vmID + " 0 map[b:2] protected", operators},
	"PATCH /v1/vms/{id}":             {"/v1/vms/web1", `{"labels":{"b":"2"},"name":"web2","restart":"never"}`, 200, "vm.update " + vmID + " 3 map[a:1 b:2] web2 never", operators},
	"DELETE /v1/vms/{id}":            {"/v1/vms/web1", "", 200, "vm.delete " + vmID, operators},
	"POST /v1/vms/{id}/start":        {"/v1/vms/web1/start", "", 202, "vm.start " + vmID, operators},
	"POST /v1/vms/{id}/stop":         {"/v1/vms/web1/stop?wait=5s", "", 200, "vm.stop " + vmID, operators},
	"POST /v1/vms/{id}/force-stop":   {"/v1/vms/web1/force-stop", "", 202, "vm.force-stop " + vmID, operators},
	"GET /v1/capacity":               {"/v1/capacity?vcpus=2&memory_mib=64&disk_gib=1", "", 200, "", readers},
	"GET /v1/operations":             {"/v1/operations", "", 200, "", readers},
	"GET /v1/operations/{id}":        {"/v1/operations/" + opID, "", 200, "", readers},
	"GET /v1/peers":                  {"/v1/peers", "", 200, "", readers},
	"GET /v1/peers/{name}":           {"/v1/peers/h1", "", 200, "", readers},
	"DELETE /v1/peers/{name}":        {"/v1/peers/h1", "", 204, "peer.remove " + peerID, admins},
	"POST /v1/peers/{name}/cordon":   {"/v1/peers/h1/cordon", "", 200, "peer.schedulable " + peerID + " false", admins},
	"POST /v1/peers/{name}/uncordon": {"/v1/peers/h1/uncordon", "", 200, "peer.schedulable " + peerID + " true", admins},
	"POST /v1/peers/{name}/drain":    {"/v1/peers/h1/drain", "", 501, "", admins},
	"GET /v1/tokens":                 {"/v1/tokens", "", 200, "", admins},
	"POST /v1/tokens":                {"/v1/tokens", `{"role":"viewer","ttl":"1h"}`, 201, "token.create viewer", admins},
	"DELETE /v1/tokens/{id}":         {"/v1/tokens/tok1", "", 204, "token.delete tok1", admins},
	"POST /v1/join":                  {"/v1/join", joinBody, 200, "join h2", nil},
	"GET /v1/images":                 {"/v1/images", "", 200, "", readers},
	"POST /v1/images":                {"/v1/images", `{"name":"i1","account":"default","format":"qcow2"}`, 201, "image.create default/i1 upload", operators},
	"GET /v1/images/{name}":          {"/v1/images/debian", "", 200, "", readers},
	"DELETE /v1/images/{name}":       {"/v1/images/upload", "", 204, "image.delete " + uploadID, operators},
	"GET /v1/networks":               {"/v1/networks?limit=1", "", 200, "", readers},
	"POST /v1/networks":              {"/v1/networks", `{"name":"n1","cidr":"10.2.0.0/16","gateway":"10.2.0.1","dns":["9.9.9.9"]}`, 201, "network.create n1", admins},
	"GET /v1/networks/{name}":        {"/v1/networks/lan", "", 200, "", readers},
	"DELETE /v1/networks/{name}":     {"/v1/networks/lan", "", 204, "network.delete " + networkID, admins},
	"GET /v1/accounts":               {"/v1/accounts", "", 200, "", readers},
	"GET /v1/events":                 {"/v1/events?since=0&follow=false&table=vms,operations&table=images", "", 200, "", readers},
	"GET /v1/keys":                   {"/v1/keys", "", 200, "", admins},
	"POST /v1/keys/rotate":           {"/v1/keys/rotate", `{"kind":"seal"}`, 202, "keys.rotate seal false", admins},
	"POST /v1/keys/export":           {"/v1/keys/export", `{"recipient":"age1x"}`, 200, "keys.export age1x", admins},
	"POST /v1/raft/transfer-leader":  {"/v1/raft/transfer-leader", `{"peer":"h1"}`, 200, "raft.transfer " + peerID, admins},
	"GET /v1/settings":               {"/v1/settings", "", 200, "", admins},
	"PATCH /v1/settings":             {"/v1/settings", `{"snapshot":{"interval":"2h","daily":null}}`, 200, `settings.patch {"snapshot":{"interval":"2h","daily":null}}`, admins},
	"GET /v1/snapshots":              {"/v1/snapshots", "", 200, "", readers},
	"POST /v1/snapshots":             {"/v1/snapshots", "", 201, "snapshot.create", admins},
	"GET /v1/snapshots/{id}":         {"/v1/snapshots/12", "", 200, "", readers},
	"DELETE /v1/snapshots/{id}":      {"/v1/snapshots/9", "", 204, "snapshot.delete 9", admins},
	"POST /v1/snapshots/{id}/verify": {"/v1/snapshots/12/verify", "", 200, "", readers},
	"GET /v1/snapshots/{id}/{file}":  {"/v1/snapshots/12/vms.parquet", "", 200, "", readers},
	"GET /v1/changes":                {"/v1/changes?limit=1", "", 200, "", readers},
	"GET /v1/changes/{file}":         {"/v1/changes/1-9.parquet", "", 200, "", readers},
	"GET /v1/status":                 {"/v1/status", "", 200, "", readers},
	"GET /healthz":                   {"/healthz", "", 200, "", nil},
	"GET /readyz":                    {"/readyz", "", 200, "", nil},
	"GET /version":                   {"/version", "", 200, "", nil},

	"GET /metrics":        {"/metrics", "", 200, "", readers},
	"GET /openapi.json":   {"/openapi.json", "", 200, "", nil},
	"GET /openapi.yaml":   {"/openapi.yaml", "", 200, "", nil},
	"GET /docs":           {"/docs", "", 200, "", nil},
	"GET /schemas/{file}": {"/schemas/VM.json", "", 200, "", nil},

	"POST /v1/vms/adopt":           {"/v1/vms/adopt", `{"peer":"h1","domain":"old"}`, 201, "vm.adopt h1 old default", admins},
	"POST /v1/vms/{id}/restart":    {"/v1/vms/web1/restart", `{"timeout":"90s"}`, 202, "vm.restart " + vmID + " 90s", operators},
	"POST /v1/vms/{id}/pause":      {"/v1/vms/web1/pause", "", 202, "vm.pause " + vmID, operators},
	"POST /v1/vms/{id}/resume":     {"/v1/vms/web1/resume", "", 202, "vm.resume " + vmID, operators},
	"POST /v1/vms/{id}/resize":     {"/v1/vms/web1/resize", `{"vcpus":2}`, 202, "vm.resize " + vmID + " { 2 0 0}", operators},
	"POST /v1/vms/{id}/export":     {"/v1/vms/web1/export", `{"image":"copy"}`, 201, "vm.export " + vmID + " copy", operators},
	"GET /v1/vms/{id}/console":     {"/v1/vms/web1/console", "", 426, "", operators},
	"GET /v1/vms/{id}/console-log": {"/v1/vms/web1/console-log?tail=4", "", 200, "", readers},
	"GET /v1/vms/{id}/screenshot":  {"/v1/vms/web1/screenshot", "", 200, "", readers},
	"GET /v1/vms/{id}/why":         {"/v1/vms/web1/why", "", 200, "", readers},
	"GET /v1/vms/{id}/known_hosts": {"/v1/vms/web1/known_hosts", "", 200, "", readers},
	"GET /v1/vms/{id}/snapshots":   {"/v1/vms/web1/snapshots", "", 200, "", readers},
	"POST /v1/vms/{id}/snapshots":  {"/v1/vms/web1/snapshots", `{"name":"monday"}`, 201, "disk-snapshot.create " + vmID + " monday", operators},

	"GET /v1/vms/{id}/snapshots/{snapshot}":          {"/v1/vms/web1/snapshots/before", "", 200, "", readers},
	"DELETE /v1/vms/{id}/snapshots/{snapshot}":       {"/v1/vms/web1/snapshots/before?wait=5s", "", 200, "disk-snapshot.delete " + vmID + " " + snapshotID, operators},
	"POST /v1/vms/{id}/snapshots/{snapshot}/restore": {"/v1/vms/web1/snapshots/before/restore", "", 202, "disk-snapshot.restore " + vmID + " " + snapshotID, operators},

	"GET /v1/sizes":              {"/v1/sizes", "", 200, "", readers},
	"POST /v1/sizes":             {"/v1/sizes", `{"name":"f1-xs","vcpus":1,"memory_mib":512,"disk_gib":5}`, 201, "size.create f1-xs", admins},
	"GET /v1/sizes/{name}":       {"/v1/sizes/f1-s", "", 200, "", readers},
	"PATCH /v1/sizes/{name}":     {"/v1/sizes/f1-s", `{"deprecated":true}`, 200, "size.update " + sizeID + " 0 true", admins},
	"DELETE /v1/sizes/{name}":    {"/v1/sizes/f1-s", "", 204, "size.delete " + sizeID, admins},
	"GET /v1/ssh-keys":           {"/v1/ssh-keys?account=default", "", 200, "", readers},
	"POST /v1/ssh-keys":          {"/v1/ssh-keys", `{"name":"k1","public_key":"ssh-ed25519 AAAA anna@laptop"}`, 201, "ssh-key.create default/k1", operators},
	"GET /v1/ssh-keys/{name}":    {"/v1/ssh-keys/anna", "", 200, "", readers},
	"DELETE /v1/ssh-keys/{name}": {"/v1/ssh-keys/anna", "", 204, "ssh-key.delete " + keyID, operators},
	"DELETE /v1/operations/{id}": {"/v1/operations/" + opID, "", 200, "operation.cancel " + opID, operators},
	"POST /v1/peers/{name}/lost": {"/v1/peers/h1/lost", `{"name":"h1","reason":"burnt"}`, 200, "peer.lose " + peerID + " h1", admins},

	"GET /v1/images/{name}/content": {"/v1/images/debian/content", "", 200, "", readers},
	"PUT /v1/images/{name}/content": {"/v1/images/upload/content", "content", 200, "image.put " + uploadID, operators},

	"POST /v1/accounts":                {"/v1/accounts", `{"name":"co-op","quota":{"vms":3}}`, 201, "account.create co-op", admins},
	"GET /v1/accounts/{name}":          {"/v1/accounts/default", "", 200, "", readers},
	"PUT /v1/accounts/{name}":          {"/v1/accounts/default", `{"quota":{"vms":3}}`, 200, "account.update default 0 {{3 0 0 0 0} false }", admins},
	"PATCH /v1/accounts/{name}":        {"/v1/accounts/default", `{"quota":{"vms":null,"disk_gib":9}}`, 200, "account.update default 4 {{0 20 0 9 0} false }", admins},
	"DELETE /v1/accounts/{name}":       {"/v1/accounts/other", "", 204, "account.delete other", admins},
	"POST /v1/accounts/{name}/suspend": {"/v1/accounts/default/suspend", `{"reason":"unpaid"}`, 200, "account.update default 4 {{10 20 0 0 0} true unpaid}", admins},
	"POST /v1/accounts/{name}/resume":  {"/v1/accounts/default/resume", "", 200, "account.update default 4 {{10 20 0 0 0} false }", admins},
	"GET /v1/usage":                    {"/v1/usage?month=2026-01&account=default", "", 200, "", readers},
	"GET /v1/domains":                  {"/v1/domains?peer=h1", "", 200, "", admins},
	"GET /v1/leases":                   {"/v1/leases", "", 200, "", admins},
	"GET /v1/findings":                 {"/v1/findings", "", 200, "", admins},

	"GET /v1/services":                     {"/v1/services?scope=cluster&package=registry&alias=registry", "", 200, "", readers},
	"GET /v1/services/{alias}":             {"/v1/services/registry?scope=cluster", "", 200, "", readers},
	"POST /v1/services/{alias}/{function}": {"/v1/services/registry/lookup", `{"name":"a"}`, 200, "", readers},
	"GET /v1/packages":                     {"/v1/packages?peer=h1&state=failed", "", 200, "", readers},

	"GET /v1/spells":                     {"/v1/spells?scope=h1&account=default", "", 200, "", readers},
	"POST /v1/spells":                    {"/v1/spells", `{"alias":"b","script":"def run(): pass","kv":{"w_a":1.5,"b":"c"},"trigger":{"clock":{"start_sec":1,"period_sec":60}}}`, 201, "spell.create " + peerID + " default/b", operators},
	"GET /v1/spells/{alias}":             {"/v1/spells/beat?scope=h1", "", 200, "", readers},
	"DELETE /v1/spells/{alias}":          {"/v1/spells/beat", "", 204, "spell.delete " + spellID, operators},
	"PUT /v1/spells/{alias}/trigger":     {"/v1/spells/beat/trigger", `{"clock":{"start_sec":1,"period_sec":5},"retry":true}`, 200, "spell.trigger " + spellID + " 0 5", operators},
	"POST /v1/spells/{alias}/run":        {"/v1/spells/beat/run", "", 202, "spell.run " + spellID, operators},
	"GET /v1/spells/{alias}/kv":          {"/v1/spells/beat/kv?prefix=w_", "", 200, "", readers},
	"GET /v1/spells/{alias}/kv/{key}":    {"/v1/spells/beat/kv/hw_counter", "", 200, "", readers},
	"PUT /v1/spells/{alias}/kv/{key}":    {"/v1/spells/beat/kv/w_limit", `{"u32":7}`, 200, "kv set_u32 w_limit 7", operators},
	"DELETE /v1/spells/{alias}/kv/{key}": {"/v1/spells/beat/kv/w_limit", "", 204, "kv remove w_limit 0", operators},
	"GET /v1/spells/{alias}/mailbox":     {"/v1/spells/beat/mailbox", "", 200, "", readers},
	"POST /v1/spells/{alias}/mailbox":    {"/v1/spells/beat/mailbox", `{"text":"hello"}`, 204, "mail.push " + spellID + " hello", operators},
	"GET /v1/spells/{alias}/log":         {"/v1/spells/beat/log?since=1", "", 200, "", readers},
	"GET /v1/spells/{alias}/errors":      {"/v1/spells/beat/errors?limit=1", "", 200, "", readers},

	"GET /v1/deals":                    {"/v1/deals?state=active&account=default", "", 200, "", readers},
	"POST /v1/deals":                   {"/v1/deals", `{"name":"d1","spec":{"count":2,"size":"f1-s"}}`, 201, "deal.create default/d1 2", operators},
	"GET /v1/deals/{name}":             {"/v1/deals/front", "", 200, "", readers},
	"PUT /v1/deals/{name}":             {"/v1/deals/front", `{"spec":{"count":4,"size":"f1-s"},"state":"inactive"}`, 200, "deal.update " + dealID + " 0 4 f1-s inactive", operators},
	"PATCH /v1/deals/{name}":           {"/v1/deals/front", `{"spec":{"count":4,"spread":null}}`, 200, "deal.update " + dealID + " 5 4 f1-s ", operators},
	"DELETE /v1/deals/{name}":          {"/v1/deals/front", "", 202, "deal.delete " + dealID, operators},
	"POST /v1/deals/{name}/activate":   {"/v1/deals/front/activate", "", 200, "deal.update " + dealID + " 5 3 f1-speer active", operators},
	"POST /v1/deals/{name}/deactivate": {"/v1/deals/front/deactivate", "", 200, "deal.update " + dealID + " 5 3 f1-speer inactive", operators},

	"POST /v1/snapshots/{id}/restore": {"/v1/snapshots/12/restore", `{"dry_run":false}`, 200, "snapshot.restore 12", admins},
}

const joinBody = `{"token":"ID.SECRET","csr":"AAAA","wrap_key":"AAAA","name":"h2","nonce":"n","clock":"2026-01-02T03:04:05Z","host":{
	"addresses":{"api":"10.0.0.2:7700","raft":"10.0.0.2:7701","gossip":"10.0.0.2:7702"},"capacity":{"vcpus":4,"memory_mib":4096,"disk_gib":10},
	"ratios":{},"driver":"sim","software":"1","level":1}}`

// everyRoute lists what stands in the tables, as "METHOD PATH".
func everyRoute(s *Server) []string {
	var all []string
	for _, rt := range routes {
		all = append(all, rt.method+" "+rt.path)
	}
	for _, p := range s.pages(s.docs) {
		all = append(all, "GET "+p.path)
	}
	return all
}

func TestEveryRouteHasAnExample(t *testing.T) {
	_, s, _ := startFake(t)
	want, got := everyRoute(s), slices.Collect(maps.Keys(examples))
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("examples and routes differ:\ngot  %v\nwant %v", got, want)
	}
}

func TestRoutesAnswer(t *testing.T) {
	f, _, ask := startFake(t)
	for name, e := range examples {
		t.Run(name, func(t *testing.T) {
			f.fill()
			before := len(f.wroteSince(0))
			method, _, _ := strings.Cut(name, " ")
			res := ask(method, e.path, e.body)
			if body := read(t, res); res.StatusCode != e.status {
				t.Errorf("status: got %d, want %d: %s", res.StatusCode, e.status, body)
			}
			if got := strings.Join(f.wroteSince(before), "; "); got != e.wrote {
				t.Errorf("backend was asked: got %q, want %q", got, e.wrote)
			}
			if res.Header.Get("X-Request-Id") == "" || res.Header.Get("Orchd-Peer") != "h1" {
				t.Errorf("headers: got %v, want X-Request-Id and Orchd-Peer", res.Header)
			}
		})
	}
}

// TestRolesOnRoutes asks every route as every role, and as nobody.
func TestRolesOnRoutes(t *testing.T) {
	f, s, ask := startFake(t)
	clock := time.Now()
	s.failures.now = func() time.Time { clock = clock.Add(time.Hour); return clock } // so that none is one too many
	for name, e := range examples {
		method, _, _ := strings.Cut(name, " ")
		for _, role := range []string{"", "nonsense", "peer", "viewer", "controller", "operator", "admin"} {
			t.Run(name+" as "+role, func(t *testing.T) {
				f.fill()
				before := len(f.wroteSince(0))
				credential := "Bearer " + role
				if role == "" {
					credential = ""
				}
				res := ask(method, e.path, e.body, "Authorization", credential)
				want := e.status
				switch {
				case e.roles == nil || slices.Contains(e.roles, role):
				case role == "" || role == "nonsense":
					want = http.StatusUnauthorized
				default:
					want = http.StatusForbidden
				}
				if body := read(t, res); res.StatusCode != want {
					t.Errorf("status: got %d, want %d: %s", res.StatusCode, want, body)
				}
				if wrote := f.wroteSince(before); want >= 400 && len(wrote) > 0 {
					t.Errorf("refused, and yet the backend was asked: %v", wrote)
				}
			})
		}
	}
}

// wholes are the routes that are not for who is bound to an account, whatever the role:
// they tell of all accounts, or change what all have.
var wholes = []string{
	"DELETE /v1/peers/{name}", "POST /v1/peers/{name}/cordon", "POST /v1/peers/{name}/uncordon", "POST /v1/peers/{name}/drain", "POST /v1/peers/{name}/lost",
	"POST /v1/tokens",
	"POST /v1/networks", "DELETE /v1/networks/{name}", "POST /v1/sizes", "PATCH /v1/sizes/{name}", "DELETE /v1/sizes/{name}",
	"POST /v1/accounts", "PUT /v1/accounts/{name}", "PATCH /v1/accounts/{name}", "DELETE /v1/accounts/{name}",
	"POST /v1/accounts/{name}/suspend", "POST /v1/accounts/{name}/resume",
	"POST /v1/vms/adopt", "GET /v1/domains", "GET /v1/leases", "GET /v1/findings",
	"GET /v1/settings", "PATCH /v1/settings", "GET /v1/keys", "POST /v1/keys/rotate", "POST /v1/keys/export", "POST /v1/raft/transfer-leader",
	"GET /v1/snapshots", "POST /v1/snapshots", "GET /v1/snapshots/{id}", "DELETE /v1/snapshots/{id}", "POST /v1/snapshots/{id}/verify",
	"GET /v1/snapshots/{id}/{file}", "POST /v1/snapshots/{id}/restore", "GET /v1/changes", "GET /v1/changes/{file}", "GET /metrics",
}

// TestBoundRolesOnRoutes asks every route as every role that is bound to the account of
// what is asked for.
func TestBoundRolesOnRoutes(t *testing.T) {
	f, _, ask := startFake(t)
	for name, e := range examples {
		method, _, _ := strings.Cut(name, " ")
		for _, role := range readers {
			t.Run(name+" as "+role, func(t *testing.T) {
				f.fill()
				before := len(f.wroteSince(0))
				res := ask(method, e.path, e.body, "Authorization", "Bearer "+role+"@default")
				want := e.status
				if e.roles != nil && (!slices.Contains(e.roles, role) || slices.Contains(wholes, name)) {
					want = http.StatusForbidden
				}
				if body := read(t, res); res.StatusCode != want {
					t.Errorf("status: got %d, want %d: %s", res.StatusCode, want, body)
				}
				if wrote := f.wroteSince(before); want >= 400 && len(wrote) > 0 {
					t.Errorf("refused, and yet the backend was asked: %v", wrote)
				}
			})
		}
	}
}

// TestAnswersAreAsDocumented checks each answer against the schema that the
// OpenAPI document gives for its route and status.
func TestAnswersAreAsDocumented(t *testing.T) {
	f, s, ask := startFake(t)
	doc := s.docs.openapi
	for _, rt := range routes {
		t.Run(rt.id, func(t *testing.T) {
			f.fill()
			e := examples[rt.method+" "+rt.path]
			res := ask(rt.method, e.path, e.body)
			body := read(t, res)
			op := operationAt(t, doc, rt)
			answer, ok := op.Responses[strconv.Itoa(res.StatusCode)]
			if !ok {
				t.Fatalf("status %d is not documented", res.StatusCode)
			}
			media := answer.Content["application/json"]
			if media == nil {
				if len(body) > 0 && res.StatusCode < 400 && answer.Content[res.Header.Get("Content-Type")] == nil {
					t.Errorf("a body came that is not documented: %s", body)
				}
				return
			}
			var tree any
			if err := json.Unmarshal([]byte(body), &tree); err != nil {
				t.Fatalf("answer is not JSON: %v", err)
			}
			var result huma.ValidateResult
			huma.Validate(doc.Components.Schemas, media.Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, tree, &result)
			for _, err := range result.Errors {
				t.Errorf("answer does not fit its schema: %v\n%s", err, body)
			}
		})
	}
}

func operationAt(t *testing.T, doc *huma.OpenAPI, rt route) *huma.Operation {
	t.Helper()
	for _, op := range operationsAt(doc.Paths[rt.path]) {
		if op.Method == rt.method {
			return op
		}
	}
	t.Fatalf("%s %s is not in the OpenAPI document", rt.method, rt.path)
	return nil
}

func read(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
