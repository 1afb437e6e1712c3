BEGIN TRANSACTION;
CREATE TABLE flow_versions (
	hash TEXT NOT NULL, 
	path TEXT NOT NULL, 
	flows TEXT NOT NULL, 
	PRIMARY KEY (hash)
);
INSERT INTO "flow_versions" VALUES('c32c7d945be1a19e875bddeacaf0964cad489e03c9f5009af4bb8de858aa2888','ok.yml','{"ok.yml": "every_seconds: 3600\nsteps:\n  - {name: a, type: jq, jq: {expression: ''[range(3)]''}}\n  - {name: b, type: set_fact, set_fact: {value: ''{{ a }}''}}\n"}');
INSERT INTO "flow_versions" VALUES('f4af398d1c2b788cb2b70838b8dba06b652db9160ffb78a037163afcefe83a9d','bad.yml','{"bad.yml": "steps:\n  - {name: a, type: jq, jq: {expression: ''.a.b'', data_key: nope}}\n"}');
INSERT INTO "flow_versions" VALUES('a9b99a100b35e7d6f4f9bcee853154e139dae59a2f0447c73af96c539d531ef4','loop.yml','{"loop.yml": "steps:\n  - {name: items, type: jq, jq: {expression: ''[range(5)]''}}\n  - {name: each, type: flow_loop, flow_loop: {path: ok.yml, data_key: items}}\n", "ok.yml": "every_seconds: 3600\nsteps:\n  - {name: a, type: jq, jq: {expression: ''[range(3)]''}}\n  - {name: b, type: set_fact, set_fact: {value: ''{{ a }}''}}\n"}');
INSERT INTO "flow_versions" VALUES('3730ea9020e9a3c960cfcde616d9bf590351d92e6200a07a22569cdad2d74b70','out.yml','{"out.yml": "steps:\n  - {name: e, type: exit, exit: {message: enough}}\n"}');
INSERT INTO "flow_versions" VALUES('68cbef2993d74cbd95aaae55c9b0cccfb6f183ef85ccf32c2877039591d3b394','wait.yml','{"wait.yml": "steps:\n  - {name: w, type: sleep, sleep: {seconds: 86400}}\n"}');
INSERT INTO "flow_versions" VALUES('fc044b08ba2c9d73a2a274946292c37394caafe5b2acc3f907aa2fe25e3e1a9a','long.yml','{"long.yml": "concurrency: {on_conflict: queue}\nsteps:\n  - {name: first, type: set_fact, set_fact: {value: 1}}\n  - {name: w, type: sleep, sleep: {seconds: 1}}\n  - {name: last, type: set_fact, set_fact: {value: ''{{ first + 1 }}''}}\n"}');
CREATE TABLE journal (
	run_id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	event TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	data TEXT, 
	PRIMARY KEY (run_id, seq)
);
INSERT INTO "journal" VALUES('20261121T155644398-qimxcbj3',1000000000,'',0,'dispatched',1.79527660440887093539e+09,'{"worker": "d8d2f80a", "pid": 20473}');
INSERT INTO "journal" VALUES('20261121T155644398-qimxcbj3',1000000002,'a',1,'succeeded',1.79527660499826288223e+09,'{"result":[0,1,2],"started_at":1795276604.993623,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T155644398-qimxcbj3',1000000004,'b',1,'succeeded',1.79527660500475311276e+09,'{"result":[0,1,2],"started_at":1795276604.998369,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T155644398-qimxcbj3',1000000005,'',0,'ended',1.79527660500492906563e+09,'{"status":"succeeded","error":null}');
INSERT INTO "journal" VALUES('20261121T155645024-fysvbs3a',1000000000,'',0,'dispatched',1.7952766050268359184e+09,'{"worker": "d8d2f80a", "pid": 20473}');
INSERT INTO "journal" VALUES('20261121T155645024-fysvbs3a',1000000002,'a',1,'failed',1.79527660503526401516e+09,'{"error":{"code":"data_key_missing","message":"data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__","details":{"data_key":"nope"}},"started_at":1795276605.034564,"then":"fail","errors":[{"step":"a","code":"data_key_missing","error":"data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__","details":{"data_key":"nope"}}]}');
INSERT INTO "journal" VALUES('20261121T155645024-fysvbs3a',1000000004,'',0,'ended',1795276605.03608,'{"status":"failed","error":{"code":"data_key_missing","message":"data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__","details":{"data_key":"nope"},"step":"a"}}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000000,'',0,'dispatched',1.7952766050554080009e+09,'{"worker": "d8d2f80a", "pid": 20473}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000002,'items',1,'succeeded',1.79527660505768203733e+09,'{"result":[0,1,2,3,4],"started_at":1795276605.057201,"key":"items"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000005,'each[1]/a',1,'succeeded',1.79527660505902504923e+09,'{"result":[0,1,2],"started_at":1795276605.058531,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000007,'each[1]/b',1,'succeeded',1.79527660505921697617e+09,'{"result":[0,1,2],"started_at":1795276605.059078,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000009,'each[2]/a',1,'succeeded',1.79527660505949091906e+09,'{"result":[0,1,2],"started_at":1795276605.059336,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000011,'each[2]/b',1,'succeeded',1.79527660505960893633e+09,'{"result":[0,1,2],"started_at":1795276605.05952,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000013,'each[3]/a',1,'succeeded',1.79527660505981397631e+09,'{"result":[0,1,2],"started_at":1795276605.059687,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000015,'each[3]/b',1,'succeeded',1.7952766050599229336e+09,'{"result":[0,1,2],"started_at":1795276605.059843,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000017,'each[4]/a',1,'succeeded',1.79527660506012701983e+09,'{"result":[0,1,2],"started_at":1795276605.059998,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000019,'each[4]/b',1,'succeeded',1795276605.06024,'{"result":[0,1,2],"started_at":1795276605.06016,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000021,'each[5]/a',1,'succeeded',1.79527660506044697765e+09,'{"result":[0,1,2],"started_at":1795276605.060318,"key":"a"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000023,'each[5]/b',1,'succeeded',1.79527660506054592129e+09,'{"result":[0,1,2],"started_at":1795276605.060472,"key":"b"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000024,'each',1,'succeeded',1.79527660506345105176e+09,'{"result":[{"__input__":0,"__errors__":[],"__loop_index__":1,"__flow_path__":"ok.yml","__timestamp__":"20261121155645","__run_id__":"20261121T155645048-sluhtm73","__job_id__":"20261121T155645048-sluhtm73","__api_url__":"http://127.0.0.1:5000","a":[0,1,2],"b":[0,1,2]},{"__input__":1,"__errors__":[],"__loop_index__":2,"__flow_path__":"ok.yml","__timestamp__":"20261121155645","__run_id__":"20261121T155645048-sluhtm73","__job_id__":"20261121T155645048-sluhtm73","__api_url__":"http://127.0.0.1:5000","a":[0,1,2],"b":[0,1,2]},{"__input__":2,"__errors__":[],"__loop_index__":3,"__flow_path__":"ok.yml","__timestamp__":"20261121155645","__run_id__":"20261121T155645048-sluhtm73","__job_id__":"20261121T155645048-sluhtm73","__api_url__":"http://127.0.0.1:5000","a":[0,1,2],"b":[0,1,2]},{"__input__":3,"__errors__":[],"__loop_index__":4,"__flow_path__":"ok.yml","__timestamp__":"20261121155645","__run_id__":"20261121T155645048-sluhtm73","__job_id__":"20261121T155645048-sluhtm73","__api_url__":"http://127.0.0.1:5000","a":[0,1,2],"b":[0,1,2]},{"__input__":4,"__errors__":[],"__loop_index__":5,"__flow_path__":"ok.yml","__timestamp__":"20261121155645","__run_id__":"20261121T155645048-sluhtm73","__job_id__":"20261121T155645048-sluhtm73","__api_url__":"http://127.0.0.1:5000","a":[0,1,2],"b":[0,1,2]}],"started_at":1795276605.057744,"key":"each"}');
INSERT INTO "journal" VALUES('20261121T155645048-sluhtm73',1000000025,'',0,'ended',1.79527660506356096263e+09,'{"status":"succeeded","error":null}');
INSERT INTO "journal" VALUES('20261121T155645069-dpw2up26',1000000000,'',0,'dispatched',1.795276605071696043e+09,'{"worker": "d8d2f80a", "pid": 20473}');
INSERT INTO "journal" VALUES('20261121T155645069-dpw2up26',1000000003,'e',1,'succeeded',1.79527660507330393793e+09,'{"result":"enough","started_at":1795276605.072997,"key":"e","control":{"exit":"enough"}}');
INSERT INTO "journal" VALUES('20261121T155645069-dpw2up26',1000000004,'',0,'ended',1.79527660507341194151e+09,'{"status":"exited","error":{"code":"exited","message":"enough","details":{}}}');
INSERT INTO "journal" VALUES('20261121T155645078-gke4v6zh',1000000000,'',0,'dispatched',1.79527660508039093017e+09,'{"worker": "d8d2f80a", "pid": 20473}');
INSERT INTO "journal" VALUES('20261121T155645078-gke4v6zh',1000000002,'w',1,'waiting',1.79527660508686900137e+09,'{"kind":"sleep","until":1795363005.086808}');
INSERT INTO "journal" VALUES('20261121T155645078-gke4v6zh',1000000003,'',0,'parked',1.79527660508705806728e+09,'{"wake_at":1795363005.0868108}');
INSERT INTO "journal" VALUES('20261121T155645078-gke4v6zh',1000000001,'w',1,'started',1795276605.08668,NULL);
INSERT INTO "journal" VALUES('20261121T155645142-ixsuy6rz',1000000000,'',0,'dispatched',1.79527660514930796622e+09,'{"worker": "d8d2f80a", "pid": 20473}');
INSERT INTO "journal" VALUES('20261121T155645142-ixsuy6rz',1000000002,'first',1,'succeeded',1.79527660515256404878e+09,'{"result":1,"started_at":1795276605.152421,"key":"first"}');
INSERT INTO "journal" VALUES('20261121T155645142-ixsuy6rz',1000000003,'w',1,'started',1.7952766051526069641e+09,NULL);
CREATE TABLE logs (
	run_id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	level TEXT NOT NULL, 
	step TEXT NOT NULL, 
	message TEXT NOT NULL, 
	PRIMARY KEY (run_id, seq)
);
INSERT INTO "logs" VALUES('20261121T155645024-fysvbs3a',1000000003,1.7952766050352909565e+09,'error','a','attempt 1 failed (fail): data_key_missing: data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__');
INSERT INTO "logs" VALUES('20261121T155645069-dpw2up26',1000000002,1.79527660507325196271e+09,'info','e','exit: enough');
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema_version','3');
CREATE TABLE removals (
	run_id TEXT NOT NULL, 
	PRIMARY KEY (run_id)
);
CREATE TABLE runs (
	id TEXT NOT NULL, 
	flow TEXT NOT NULL, 
	flow_hash TEXT NOT NULL, 
	"trigger" TEXT NOT NULL, 
	trigger_by TEXT NOT NULL, 
	status TEXT NOT NULL, 
	input TEXT NOT NULL, 
	params TEXT, 
	timeout_seconds FLOAT, 
	created_at FLOAT NOT NULL, 
	started_at FLOAT, 
	ended_at FLOAT, 
	error TEXT, 
	schedule_id TEXT, 
	slot FLOAT, 
	wake_at FLOAT, 
	retry_of TEXT, 
	attempt INTEGER DEFAULT '1' NOT NULL, 
	bytes INTEGER DEFAULT '0' NOT NULL, 
	parent TEXT, 
	parent_path TEXT, 
	parent_index INTEGER, 
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('20261121T155644398-qimxcbj3','ok.yml','c32c7d945be1a19e875bddeacaf0964cad489e03c9f5009af4bb8de858aa2888','api','api','succeeded','null',NULL,NULL,1795276604.39829,1.79527660440887093539e+09,1.79527660500492906563e+09,NULL,NULL,NULL,NULL,NULL,1,661,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T155645024-fysvbs3a','bad.yml','f4af398d1c2b788cb2b70838b8dba06b652db9160ffb78a037163afcefe83a9d','api','api','failed','null',NULL,NULL,1795276605.02419,1.7952766050268359184e+09,1795276605.03608,'{"code": "data_key_missing", "message": "data_key ''nope'' not found; there are: __api_url__, __errors__, __flow_path__, __input__, __job_id__, __loop_index__, __run_id__, __timestamp__", "details": {"data_key": "nope"}, "step": "a"}',NULL,NULL,NULL,NULL,1,1343,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T155645048-sluhtm73','loop.yml','a9b99a100b35e7d6f4f9bcee853154e139dae59a2f0447c73af96c539d531ef4','api','api','succeeded','null',NULL,NULL,1.79527660504824399943e+09,1.7952766050554080009e+09,1.79527660506356096263e+09,NULL,NULL,NULL,NULL,NULL,1,4733,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T155645069-dpw2up26','out.yml','3730ea9020e9a3c960cfcde616d9bf590351d92e6200a07a22569cdad2d74b70','api','api','exited','null',NULL,NULL,1795276605.06935,1.795276605071696043e+09,1.79527660507341194151e+09,'{"code": "exited", "message": "enough", "details": {}}',NULL,NULL,NULL,NULL,1,584,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T155645078-gke4v6zh','wait.yml','68cbef2993d74cbd95aaae55c9b0cccfb6f183ef85ccf32c2877039591d3b394','api','api','waiting','null',NULL,NULL,1.79527660507835388177e+09,1.79527660508039093017e+09,NULL,NULL,NULL,NULL,1.79536300508681082727e+09,NULL,1,378,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T155645142-ixsuy6rz','long.yml','fc044b08ba2c9d73a2a274946292c37394caafe5b2acc3f907aa2fe25e3e1a9a','api','api','running','null',NULL,NULL,1.79527660514251399042e+09,1.79527660514930796622e+09,NULL,NULL,NULL,NULL,NULL,NULL,1,4,NULL,NULL,NULL);
INSERT INTO "runs" VALUES('20261121T155645150-b7wuvp22','long.yml','fc044b08ba2c9d73a2a274946292c37394caafe5b2acc3f907aa2fe25e3e1a9a','api','api','queued','null',NULL,NULL,1.79527660515013289454e+09,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,4,NULL,NULL,NULL);
CREATE TABLE schedules (
	id TEXT NOT NULL, 
	flow TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	rule TEXT, 
	timeout_seconds FLOAT, 
	active INTEGER NOT NULL, 
	added_at FLOAT NOT NULL, 
	anchor FLOAT, 
	last_slot FLOAT, 
	PRIMARY KEY (id), 
	UNIQUE (flow, origin)
);
INSERT INTO "schedules" VALUES('0e66e04bad3a','ok.yml','api','{"override": null, "in_force": {"every_seconds": 3600.0, "timezone": "UTC", "catchup": "latest", "catchup_max": 100, "params": {}}}',NULL,1,1.79527660428519892686e+09,1.79527660428519892686e+09,NULL);
CREATE TABLE slots (
	schedule_id TEXT NOT NULL, 
	slot FLOAT NOT NULL, 
	outcome TEXT NOT NULL, 
	run_id TEXT, 
	reason TEXT, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (schedule_id, slot)
);
CREATE INDEX runs_by_status ON runs (status, id);
CREATE INDEX runs_by_retry ON runs (retry_of) WHERE retry_of IS NOT NULL;
CREATE UNIQUE INDEX runs_by_parent ON runs (parent, parent_path, parent_index) WHERE parent IS NOT NULL;
CREATE INDEX runs_by_flow ON runs (flow, status, id);
CREATE INDEX runs_by_trigger ON runs ("trigger", status, id);
CREATE INDEX runs_by_version ON runs (flow_hash);
COMMIT;
