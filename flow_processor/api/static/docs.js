// Shows /api/openapi.json. The validator is switched off because it is a service of somebody else.
window.ui = SwaggerUIBundle({
  // Without the name and password that may stand in this page's own address: fetch refuses those.
  url: `${location.origin}/api/openapi.json`,
  dom_id: "#swagger-ui",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  validatorUrl: null,
});
