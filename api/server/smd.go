package server

// smdRoutes are the State Manager API.
var smdRoutes = []facade{}
