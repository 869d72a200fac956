// Package server is the HTTP API of a peer: HTTP in, one call to the Backend,
// one answer or one problem out. It decides nothing about virtual machines.
//
// Everything it serves stands in one table, routes.go. A request passes, in
// this order: the request log (requestlog.go), the router (router.go), admission
// (admit.go: who asks, may they, the body), huma, which checks the body
// against the Go types, and a handler in the file of its resource. An error of
// any of them becomes a response in problem.go and nowhere else.
package server
