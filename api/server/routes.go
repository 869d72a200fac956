package server

import (
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/orchd/orchd/api"
)

// route is one thing that the API can do.
type route struct {
	method, path string
	need         need
	status       []int // of good answers, the usual one first
	id, summary  string
	bind         binder
}

// tag groups routes in the documentation: the first word of the path after the version.
func (rt route) tag() string {
	word, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(rt.path, "/"), "v1/"), "/")
	return word
}

const (
	get   = http.MethodGet
	post  = http.MethodPost
	put   = http.MethodPut
	patch = http.MethodPatch
	del   = http.MethodDelete
)

// routes is the whole API. What tells about it stands in pages.
var routes = []route{
	{get, "/v1/vms", need{api.Read, "vm"}, []int{200}, "list-vms", "List virtual machines", on((*Server).listVMs)},
	{post, "/v1/vms", need{api.Create, "vm"}, []int{201}, "create-vm", "Create a virtual machine", sized(maxCreate, on((*Server).createVM))},
	{post, "/v1/vms/adopt", need{api.Create, "domain"}, []int{201}, "adopt-vm", "Make a virtual machine of a domain that a peer has, without a restart", on((*Server).adoptVM)},
	{get, "/v1/vms/{id}", need{api.Read, "vm"}, []int{200}, "show-vm", "Show a virtual machine, by id or name", on((*Server).showVM)},
	{put, "/v1/vms/{id}", need{api.Update, "vm"}, []int{200}, "replace-vm", "Replace what a user may set of a virtual machine", on((*Server).replaceVM)},
	{patch, "/v1/vms/{id}", need{api.Update, "vm"}, []int{200}, "patch-vm", "Change what a user may set, as a merge patch (RFC 7396)", on((*Server).patchVM)},
	{del, "/v1/vms/{id}", need{api.Delete, "vm"}, []int{200, 202}, "delete-vm", "Delete a virtual machine: 200 once it is torn down, 202 while it is not", on((*Server).deleteVM)},
	{post, "/v1/vms/{id}/start", need{api.Update, "vm"}, []int{202, 200}, "start-vm", "Start a virtual machine", on(vmAction(api.ActStart))},
	{post, "/v1/vms/{id}/stop", need{api.Update, "vm"}, []int{202, 200}, "stop-vm", "Ask the guest to shut down, and use force when it does not", on(stopping(api.ActStop))},
	{post, "/v1/vms/{id}/force-stop", need{api.Update, "vm"}, []int{202, 200}, "force-stop-vm", "Stop a virtual machine without asking the guest", on(vmAction(api.ActForceStop))},
	{post, "/v1/vms/{id}/restart", need{api.Update, "vm"}, []int{202, 200}, "restart-vm", "Stop a virtual machine as stop does, then start it", on(stopping(api.ActRestart))},
	{post, "/v1/vms/{id}/pause", need{api.Update, "vm"}, []int{202, 200}, "pause-vm", "Hold the guest's processors still", on(vmAction(api.ActPause))},
	{post, "/v1/vms/{id}/resume", need{api.Update, "vm"}, []int{202, 200}, "resume-vm", "Let the guest's processors go on", on(vmAction(api.ActResume))},
	{post, "/v1/vms/{id}/resize", need{api.Update, "vm"}, []int{202, 200}, "resize-vm", "Give a virtual machine other amounts; while it runs, more processors and memory only", on((*Server).resizeVM)},
	{post, "/v1/vms/{id}/export", need{api.Update, "vm"}, []int{201}, "export-vm", "Make an image of the disk of a stopped virtual machine", on((*Server).exportVM)},
	{get, "/v1/vms/{id}/console", need{api.Update, "vm"}, []int{101}, "console", "Open the serial console, as a WebSocket", plain(describeConsole, (*Server).console)},
	{get, "/v1/vms/{id}/console-log", need{api.Read, "vm"}, []int{200}, "console-log", "What the serial console has said", plain(describeVMText(typeText, "The end of the log", tailParameter), (*Server).consoleLog)},
	{get, "/v1/vms/{id}/screenshot", need{api.Read, "vm"}, []int{200}, "screenshot", "What the guest shows on its screen", plain(describeVMText("image/png", "A picture"), (*Server).screenshot)},
	{get, "/v1/vms/{id}/why", need{api.Read, "vm"}, []int{200}, "why", "How the owner of a virtual machine was chosen", on((*Server).showWhy)},
	{get, "/v1/vms/{id}/known_hosts", need{api.Read, "vm"}, []int{200}, "known-hosts", "The guest's SSH keys, as lines of a known_hosts file", plain(describeVMText(typeText, "A line for each key, under the name and under each address"), (*Server).knownHosts)},
	{get, "/v1/vms/{id}/snapshots", need{api.Read, "vm"}, []int{200}, "list-disk-snapshots", "List the snapshots of a virtual machine's disk", on((*Server).listDiskSnapshots)},
	{post, "/v1/vms/{id}/snapshots", need{api.Update, "vm"}, []int{201}, "create-disk-snapshot", "Keep the disk of a virtual machine as it is now", on((*Server).createDiskSnapshot)},
	{get, "/v1/vms/{id}/snapshots/{snapshot}", need{api.Read, "vm"}, []int{200}, "show-disk-snapshot", "Show a snapshot of a disk, by name or id", on((*Server).showDiskSnapshot)},
	{del, "/v1/vms/{id}/snapshots/{snapshot}", need{api.Update, "vm"}, []int{202, 200}, "delete-disk-snapshot", "Forget a snapshot of a disk", on((*Server).deleteDiskSnapshot)},
	{post, "/v1/vms/{id}/snapshots/{snapshot}/restore", need{api.Update, "vm"}, []int{202, 200}, "restore-disk-snapshot", "Make the disk of a stopped virtual machine as it was", on((*Server).restoreDiskSnapshot)},

	{get, "/v1/sizes", need{api.Read, "size"}, []int{200}, "list-sizes", "List sizes", on((*Server).listSizes)},
	{post, "/v1/sizes", need{api.Create, "size"}, []int{201}, "create-size", "Name an amount of resources", on((*Server).createSize)},
	{get, "/v1/sizes/{name}", need{api.Read, "size"}, []int{200}, "show-size", "Show a size, by name or id", on((*Server).showSize)},
	{patch, "/v1/sizes/{name}", need{api.Update, "size"}, []int{200}, "patch-size", "Deprecate a size, or take that back", on((*Server).patchSize)},
	{del, "/v1/sizes/{name}", need{api.Delete, "size"}, []int{204}, "delete-size", "Forget a size; virtual machines keep what they have", on((*Server).deleteSize)},

	{get, "/v1/ssh-keys", need{api.Read, "ssh-key"}, []int{200}, "list-ssh-keys", "List public SSH keys", on((*Server).listSSHKeys)},
	{post, "/v1/ssh-keys", need{api.Create, "ssh-key"}, []int{201}, "create-ssh-key", "Store a public SSH key of an account", on((*Server).createSSHKey)},
	{get, "/v1/ssh-keys/{name}", need{api.Read, "ssh-key"}, []int{200}, "show-ssh-key", "Show a public SSH key, by id or by name in its account", on((*Server).showSSHKey)},
	{del, "/v1/ssh-keys/{name}", need{api.Delete, "ssh-key"}, []int{204}, "delete-ssh-key", "Forget a public SSH key; guests that have it keep it", on((*Server).deleteSSHKey)},

	{get, "/v1/capacity", need{api.Read, "capacity"}, []int{200}, "capacity", "Ask every host whether something fits", on((*Server).capacity)},

	{get, "/v1/operations", need{api.Read, "operation"}, []int{200}, "list-operations", "List operations", on((*Server).listOperations)},
	{get, "/v1/operations/{id}", need{api.Read, "operation"}, []int{200}, "show-operation", "Show an operation, or wait for its end", on((*Server).showOperation)},
	{del, "/v1/operations/{id}", need{api.Update, "operation"}, []int{202, 200}, "cancel-operation", "Cancel an operation: 200 once it is over, 202 while what was begun is taken back", on((*Server).cancelOperation)},

	{get, "/v1/peers", need{api.Read, "peer"}, []int{200}, "list-peers", "List peers", on((*Server).listPeers)},
	{get, "/v1/peers/{name}", need{api.Read, "peer"}, []int{200}, "show-peer", "Show a peer, by name or id", on((*Server).showPeer)},
	{del, "/v1/peers/{name}", need{api.Delete, "peer"}, []int{204}, "remove-peer", "Take a peer out of the cluster; not while it owns virtual machines", on((*Server).removePeer)},
	{post, "/v1/peers/{name}/cordon", need{api.Update, "peer"}, []int{200}, "cordon-peer", "Place nothing new on a peer", on(schedulable(false))},
	{post, "/v1/peers/{name}/uncordon", need{api.Update, "peer"}, []int{200}, "uncordon-peer", "Place on a peer again", on(schedulable(true))},
	{post, "/v1/peers/{name}/lost", need{api.Update, "peer"}, []int{200}, "lose-peer", "State that a host is off for good and will never come back", on((*Server).losePeer)},
	{post, "/v1/peers/{name}/drain", need{api.Update, "peer"}, []int{501}, "drain-peer", "Not there yet", on((*Server).drainPeer)},

	{get, "/v1/tokens", need{api.Read, "token"}, []int{200}, "list-tokens", "List credentials, without their secrets", on((*Server).listTokens)},
	{post, "/v1/tokens", need{api.Create, "token"}, []int{201}, "create-token", "Make a credential; its secret is shown this once", on((*Server).createToken)},
	{del, "/v1/tokens/{id}", need{api.Delete, "token"}, []int{204}, "delete-token", "Revoke a credential", on((*Server).deleteToken)},
	{post, "/v1/join", need{}, []int{200}, "join", "Become a peer, with a token of role peer in the body", sized(maxJoin, on((*Server).join))},

	{get, "/v1/images", need{api.Read, "image"}, []int{200}, "list-images", "List images", on((*Server).listImages)},
	{post, "/v1/images", need{api.Create, "image"}, []int{201}, "create-image", "Make an image, whose content may have to be brought in yet", on((*Server).createImage)},
	{get, "/v1/images/{name}", need{api.Read, "image"}, []int{200}, "show-image", "Show an image, by name or id", on((*Server).showImage)},
	{del, "/v1/images/{name}", need{api.Delete, "image"}, []int{204}, "delete-image", "Forget an image, and the copies of its content that orchd keeps", on((*Server).deleteImage)},
	{get, "/v1/images/{name}/content", need{api.Read, "image"}, []int{200}, "download-image", "The content of an image that orchd keeps", plain(describeImageContent, (*Server).imageContent)},
	{put, "/v1/images/{name}/content", need{api.Update, "image"}, []int{200}, "upload-image", "Send the content of an image that waits for it", streaming(describeImageUpload, (*Server).putImageContent)},

	{get, "/v1/networks", need{api.Read, "network"}, []int{200}, "list-networks", "List networks", on((*Server).listNetworks)},
	{post, "/v1/networks", need{api.Create, "network"}, []int{201}, "create-network", "Declare a range of addresses to allot from", on((*Server).createNetwork)},
	{get, "/v1/networks/{name}", need{api.Read, "network"}, []int{200}, "show-network", "Show a network, by name or id", on((*Server).showNetwork)},
	{del, "/v1/networks/{name}", need{api.Delete, "network"}, []int{204}, "delete-network", "Forget a network of which no address is held", on((*Server).deleteNetwork)},

	{get, "/v1/accounts", need{api.Read, "account"}, []int{200}, "list-accounts", "List accounts", on((*Server).listAccounts)},
	{post, "/v1/accounts", need{api.Create, "account"}, []int{201}, "create-account", "Make an account", on((*Server).createAccount)},
	{get, "/v1/accounts/{name}", need{api.Read, "account"}, []int{200}, "show-account", "Show an account, its quota and what it holds now", on((*Server).showAccount)},
	{put, "/v1/accounts/{name}", need{api.Update, "account"}, []int{200}, "replace-account", "Set an account's quota, and whether it is suspended", on((*Server).replaceAccount)},
	{patch, "/v1/accounts/{name}", need{api.Update, "account"}, []int{200}, "patch-account", "Change an account, as a merge patch (RFC 7396)", on((*Server).patchAccount)},
	{del, "/v1/accounts/{name}", need{api.Delete, "account"}, []int{204}, "delete-account", "Forget an account that holds nothing", on((*Server).deleteAccount)},
	{post, "/v1/accounts/{name}/suspend", need{api.Update, "account"}, []int{200}, "suspend-account", "Keep the virtual machines of an account off, and let it make nothing new", on((*Server).suspendAccount)},
	{post, "/v1/accounts/{name}/resume", need{api.Update, "account"}, []int{200}, "resume-account", "Let an account go on; its virtual machines are as they were wanted", on((*Server).resumeAccount)},
	{get, "/v1/usage", need{api.Read, "account"}, []int{200}, "list-usage", "What accounts have had for how long, month by month", on((*Server).listUsage)},

	{get, "/v1/domains", need{api.Read, "domain"}, []int{200}, "list-domains", "List domains on hosts that are none of this cluster's virtual machines", on((*Server).listDomains)},
	{get, "/v1/leases", need{api.Read, "lease"}, []int{200}, "list-leases", "List the addresses that virtual machines hold", on((*Server).listLeases)},
	{get, "/v1/findings", need{api.Read, "finding"}, []int{200}, "list-findings", "List in what hosts and records disagree, and what mends it", on((*Server).listFindings)},

	{get, "/v1/services", need{api.Read, "service"}, []int{200}, "list-services", "List services", on((*Server).listServices)},
	{get, "/v1/services/{alias}", need{api.Read, "service"}, []int{200}, "show-service", "Show a service, by alias or id, and its functions", on((*Server).showService)},
	{post, "/v1/services/{alias}/{function}", need{api.Read, "service"}, []int{200}, "call-service", "Call a function of a service", plain(describeCall, (*Server).callService)},
	{get, "/v1/packages", need{api.Read, "service"}, []int{200}, "list-packages", "List what became of packages, peer by peer", on((*Server).listPackages)},

	{get, "/v1/spells", need{api.Read, "spell"}, []int{200}, "list-spells", "List spells", on((*Server).listSpells)},
	{post, "/v1/spells", need{api.Create, "spell"}, []int{201}, "create-spell", "Install a spell", sized(maxCreate, verbatim("/kv/", on((*Server).createSpell)))},
	{get, "/v1/spells/{alias}", need{api.Read, "spell"}, []int{200}, "show-spell", "Show a spell and its runs, by alias or id", on((*Server).showSpell)},
	{del, "/v1/spells/{alias}", need{api.Delete, "spell"}, []int{204}, "delete-spell", "Remove a spell, its values and its mailbox", on((*Server).deleteSpell)},
	{put, "/v1/spells/{alias}/trigger", need{api.Update, "spell"}, []int{200}, "update-trigger", "Say anew when a spell runs", on((*Server).updateTrigger)},
	{post, "/v1/spells/{alias}/run", need{api.Update, "spell"}, []int{202}, "run-spell", "Run a spell now; answered once the run began", on((*Server).runSpell)},
	{get, "/v1/spells/{alias}/kv", need{api.Read, "spell"}, []int{200}, "list-kv", "List the values of a spell", on((*Server).listKV)},
	{get, "/v1/spells/{alias}/kv/{key}", need{api.Read, "spell"}, []int{200}, "show-kv", "Show a value of a spell", on((*Server).showKV)},
	{put, "/v1/spells/{alias}/kv/{key}", need{api.Update, "spell"}, []int{200}, "put-kv", "Set a value of a spell whose key begins with w_ or hw_", on((*Server).putKV)},
	{del, "/v1/spells/{alias}/kv/{key}", need{api.Update, "spell"}, []int{204}, "delete-kv", "Remove a value of a spell whose key begins with w_ or hw_", on((*Server).deleteKV)},
	{get, "/v1/spells/{alias}/mailbox", need{api.Read, "spell"}, []int{200}, "list-mailbox", "List the messages that a spell has not taken yet, oldest first", on((*Server).mailbox)},
	{post, "/v1/spells/{alias}/mailbox", need{api.Update, "spell"}, []int{204}, "push-mail", "Put a message into a spell's mailbox; 409 when it is full", on((*Server).pushMail)},
	{get, "/v1/spells/{alias}/log", need{api.Read, "spell"}, []int{200}, "spell-log", "List what a spell logged, oldest first", on((*Server).spellLog)},
	{get, "/v1/spells/{alias}/errors", need{api.Read, "spell"}, []int{200}, "spell-errors", "List the errors of a spell's runs, oldest first", on((*Server).spellErrorLines)},

	{get, "/v1/deals", need{api.Read, "deal"}, []int{200}, "list-deals", "List deals", on((*Server).listDeals)},
	{post, "/v1/deals", need{api.Create, "deal"}, []int{201}, "create-deal", "Ask for a number of alike virtual machines, and that they are kept alive", on((*Server).createDeal)},
	{get, "/v1/deals/{name}", need{api.Read, "deal"}, []int{200}, "show-deal", "Show a deal and its workers, by id or by name in its account", on((*Server).showDeal)},
	{put, "/v1/deals/{name}", need{api.Update, "deal"}, []int{200}, "replace-deal", "Say anew what a deal asks for", on((*Server).replaceDeal)},
	{patch, "/v1/deals/{name}", need{api.Update, "deal"}, []int{200}, "patch-deal", "Change a deal, as a merge patch (RFC 7396)", on((*Server).patchDeal)},
	{del, "/v1/deals/{name}", need{api.Delete, "deal"}, []int{202}, "delete-deal", "End a deal; it goes when its workers have gone", on((*Server).deleteDeal)},
	{post, "/v1/deals/{name}/activate", need{api.Update, "deal"}, []int{200}, "activate-deal", "Have the workers of a deal made and kept alive", on(dealAction(api.DealActive))},
	{post, "/v1/deals/{name}/deactivate", need{api.Update, "deal"}, []int{200}, "deactivate-deal", "Have the workers of a deal removed; the deal stays", on(dealAction(api.DealInactive))},

	{get, "/v1/events", need{api.Read, "event"}, []int{200}, "events", "Follow what changes, as server-sent events; resumable on any peer", plain(describeEvents, (*Server).events)},

	{get, "/v1/settings", need{api.Read, "setting"}, []int{200}, "show-settings", "Show what must be alike on all peers", on((*Server).showSettings)},
	{patch, "/v1/settings", need{api.Update, "setting"}, []int{200}, "patch-settings", "Change settings, as a merge patch (RFC 7396)", on((*Server).patchSettings)},

	{get, "/v1/keys", need{api.Read, "key"}, []int{200}, "show-keys", "Show the cluster's certificates and keys, by name, and how far their rotation is", on((*Server).showKeys)},
	{post, "/v1/keys/rotate", need{api.Update, "key"}, []int{202}, "rotate-key", "Begin to replace a key of the cluster; it goes on by itself", on((*Server).rotateKey)},
	{post, "/v1/keys/export", need{api.Update, "key"}, []int{200}, "export-keys", "A copy of all keys of the cluster, encrypted to an age recipient", on((*Server).exportKeys)},

	{post, "/v1/raft/transfer-leader", need{api.Update, "raft"}, []int{200}, "transfer-leader", "Have another voter lead the cluster; any peer may be asked", on((*Server).transferLeader)},

	{get, "/v1/snapshots", need{api.Read, "snapshot"}, []int{200}, "list-snapshots", "List the snapshots of this peer", on((*Server).listSnapshots)},
	{post, "/v1/snapshots", need{api.Create, "snapshot"}, []int{201}, "take-snapshot", "Take a snapshot; answered once this peer's files are verified", on((*Server).takeSnapshot)},
	{get, "/v1/snapshots/{id}", need{api.Read, "snapshot"}, []int{200}, "show-snapshot", "Show a snapshot of this peer", on((*Server).showSnapshot)},
	{del, "/v1/snapshots/{id}", need{api.Delete, "snapshot"}, []int{204}, "delete-snapshot", "Delete this peer's files of a snapshot; never its newest whole one", on((*Server).deleteSnapshot)},
	{post, "/v1/snapshots/{id}/verify", need{api.Read, "snapshot"}, []int{200}, "verify-snapshot", "Read a snapshot of this peer whole and say what is wrong with it", on((*Server).verifySnapshot)},
	{post, "/v1/snapshots/{id}/restore", need{api.Update, "snapshot"}, []int{200}, "restore-snapshot", "Roll the cluster back to a snapshot, or tell what that would change", on((*Server).restoreSnapshot)},
	{get, "/v1/snapshots/{id}/{file}", need{api.Read, "snapshot"}, []int{200}, "download-snapshot", "A table of a snapshot as parquet, or all of them as tar, without secrets", plain(describeSnapshotFile, (*Server).snapshotFile)},

	{get, "/v1/changes", need{api.Read, "snapshot"}, []int{200}, "list-changes", "List the files of changes that this peer keeps, oldest first", on((*Server).listChanges)},
	{get, "/v1/changes/{file}", need{api.Read, "snapshot"}, []int{200}, "download-changes", "The changes of a stretch of the log as parquet, without secrets", plain(describeChangesFile, (*Server).changesFile)},

	{get, "/v1/status", need{api.Read, "status"}, []int{200}, "status", "The health of the cluster, as this peer sees it", on((*Server).status)},
	{get, "/healthz", need{}, []int{200}, "healthz", "The process lives", on((*Server).healthz)},
	{get, "/readyz", need{}, []int{200}, "readyz", "This peer can serve; 503 says what is missing", on((*Server).readyz)},
	{get, "/version", need{}, []int{200}, "version", "The software of this peer", on((*Server).version)},
}

// register puts every route on the mux and gives the documents about them.
func (s *Server) register() documents {
	h := s.newAPI()
	for _, rt := range routes {
		rt.bind(s, h, rt.operation(h))
		rt.alsoAnswers(h)
	}
	s.mountFacades()
	docs := newDocuments(h.OpenAPI())
	for _, p := range s.pages(docs) {
		s.mux.Handle(get+" "+p.path, s.admitted(intake{need: p.need}, p.handler))
	}
	return docs
}

// page is a route whose answer is not made by huma.
type page struct {
	path    string
	need    need
	handler http.HandlerFunc
}

// pages are what people, scrapers and generators read.
func (s *Server) pages(docs documents) []page {
	return []page{
		{"/metrics", need{api.Read, "metrics"}, func(w http.ResponseWriter, r *http.Request) { s.backend.Metrics().ServeHTTP(w, r) }},
		{"/openapi.json", need{}, docs.serve("application/openapi+json", func(t texts) []byte { return t.json })},
		{"/openapi.yaml", need{}, docs.serve("application/openapi+yaml", func(t texts) []byte { return t.yaml })},
		{"/docs", need{}, docs.servePage},
		{"/schemas/{file}", need{}, docs.serveSchema},
	}
}

var _ huma.Adapter = adapter{}
